"""What several data sets have in common and should not."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import combinations

from palpate.data.annotations import SPLITS
from palpate.data.integrity.finding import Finding, Severity
from palpate.data.integrity.pictures import Picture, likenesses
from palpate.data.integrity.survey import Survey


def annotation_findings(sets: Sequence[Survey]) -> Iterator[Finding]:
    """Sets with the same entries, one of which must have got the other's file."""
    for one, other in combinations(sets, 2):
        same = [s for s in SPLITS if one.of(s) and _digest(one, s) == _digest(other, s)]
        if same:
            count = sum(len(one.of(split)) for split in same)
            message = (
                f"{one.name} and {other.name} have the same annotations in {', '.join(same)} "
                f"({count} entries): one of them has the other's file."
            )
            files = tuple(f"{found.name}/anns/{s}.json" for s in same for found in (one, other))
            yield Finding("same-annotations", "error", message, files)


def shared_images(pictures: Sequence[Picture]) -> Iterator[Finding]:
    """Images in two sets; grave where one teaches what the other tests."""
    found: dict[tuple[str, str], list[tuple[bool, str]]] = defaultdict(list)
    for pair in likenesses(list(pictures)):
        one, other = pair.first, pair.second
        if one.dataset != other.dataset:
            grave = (one.split == "test") != (other.split == "test")
            found[one.dataset, other.dataset].append((grave, str(pair)))
    for (one_name, other_name), some in found.items():
        grave = any(grave for grave, _ in some)
        message = f"{one_name} and {other_name} share {len(some)} images, by pixels or nearly" + (
            ": training on one and testing on the other leaks." if grave else "."
        )
        severity: Severity = "error" if grave else "warning"
        yield Finding("shared-images", severity, message, tuple(text for _, text in some))


def _digest(found: Survey, split: str) -> str:
    """Of the entries of a split, in whatever order they are listed."""
    entries = sorted(
        repr((r.entry.image_name, r.entry.mask_name, r.entry.prompts)) for r in found.of(split)
    )
    return blake2b("\n".join(entries).encode()).hexdigest()
