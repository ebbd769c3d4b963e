"""Writing of ``anns/*.json`` and ``dataset.json`` of a prepared data set, after all images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from palpate.data.annotations import SPLITS
from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import LEARN, Item
from palpate.data.prepare.record import Ledger, Record, write_json
from palpate.data.sources.cards import CARDS
from palpate.data.splits import Item as Dealt
from palpate.data.splits import deal
from palpate.version import release

# Fractions in MedVLSM for data sets without an official split.
_FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}
_BESIDE_TEST = {"train": 0.9, "val": 0.1, "test": 0.0}
_UNDECIDED = (None, LEARN)


def check_dealing(items: Sequence[Item]) -> None:
    """Check that there are enough groups to split, before any file is written.

    Raises:
        ValueError: If there are fewer groups than splits.
    """
    for kind in _UNDECIDED:
        groups = {item.group for item in items if item.split == kind}
        splits = [split for split, share in _fractions(items, kind).items() if share]
        if groups and len(groups) < len(splits):
            raise ValueError(
                f"Expected images of at least {len(splits)} patients, to split them into "
                f"{', '.join(splits)}, got {len(groups)} ({', '.join(sorted(groups))}). Add "
                "images, group them differently, or put all into one split, such as --split-as "
                "test."
            )


def annotate(
    ledger: Ledger,
    converter: Converter,
    items: Sequence[Item],
    records: Sequence[Record],
    seed: int,
    told: Mapping[str, Any],
) -> None:
    """Write annotations and summary, and remove files that only an earlier source had.

    Args:
        ledger: Records of the folder.
        converter: Converter of the data set.
        items: All items of the source.
        records: Record of each item, in the same order.
        seed: Seed of the splits, if there is no official split.
        told: Further entries of the summary.
    """
    splits = _splits(items, records, seed)
    folder = ledger.folder
    (folder / "anns").mkdir(exist_ok=True)
    counts: Mapping[str, int] = Counter(splits.values())
    for split in SPLITS:
        path = folder / "anns" / f"{split}.json"
        entries = [r.entry for r in records if splits[r.mask_name] == split]
        if entries:
            write_json(path, entries)
        else:
            path.unlink(missing_ok=True)
    card = asdict(CARDS[converter.card]) if converter.card else None
    summary = {
        "name": converter.name,
        "card": card,
        "counts": {split: counts[split] for split in SPLITS if counts[split]},
        "images": len({item.image_name for item in items}),
        "seed": seed,
        "generator": {"palpate": release(), "converter": converter.version},
        **told,
    }
    ledger.finish(summary, records)
    _remove_abandoned(ledger, records)


def _splits(items: Sequence[Item], records: Sequence[Record], seed: int) -> dict[str, str]:
    """Split of each mask: the official one, or a random one.

    If the source has test images, the others are split into training and validation only.
    """
    dealt: dict[str, str] = {}
    for kind in _UNDECIDED:
        undecided: dict[str, Dealt] = {}
        for item, record in zip(items, records, strict=True):
            if item.split == kind:
                # An image is assigned once, with the largest of its masks for the stratification.
                before = undecided.get(item.image_name)
                size = max(record.area, before.size if before else 0.0)
                pathology = item.facts.get("pathology", "")
                undecided[item.image_name] = Dealt(item.image_name, item.group, size, pathology)
        if undecided:
            dealt |= deal(undecided.values(), seed=seed, fractions=_fractions(items, kind))
    return {item.mask_name: dealt.get(item.image_name) or str(item.split) for item in items}


def _fractions(items: Sequence[Item], kind: str | None) -> Mapping[str, float]:
    beside = kind == LEARN or any(item.split == "test" for item in items)
    return _BESIDE_TEST if beside else _FRACTIONS


def _remove_abandoned(ledger: Ledger, records: Sequence[Record]) -> None:
    wanted = {name for record in records for name in record.files}
    for record in ledger.before.values():
        for name in record.files.keys() - wanted:
            (ledger.folder / name).unlink(missing_ok=True)
