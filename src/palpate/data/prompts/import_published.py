"""Import of prompts from published annotation files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from palpate.data.annotations import are_prompts, read_records
from palpate.data.problems import refuse
from palpate.data.prompts.annotated_folder import Prompts, open_folder

_SHOWN = 10  # names listed in a report

_Texts = dict[str, list[tuple[str, Prompts]]]  # (name of the file, prompts), by key of the mask


@dataclass(frozen=True)
class Imported:
    """Result of an import.

    Attributes:
        taken: Number of entries by split that got published prompts.
        missing: Masks of the folder that are not in the published files; these keep their prompts.
        ambiguous: Masks with different prompts in several published files; these keep their
            prompts.
        unused: Masks of the published files that are not in the folder.
    """

    taken: Mapping[str, int]
    missing: tuple[str, ...]
    ambiguous: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        taken = ", ".join(f"{count} of {split}" for split, count in self.taken.items())
        lines = [
            f"Took over the prompts of {taken}.",
            _told(self.missing, "masks here are not in the published files and keep their prompts"),
            _told(self.ambiguous, "masks have different published prompts and keep their own"),
            _told(self.unused, "published masks are not here"),
        ]
        return "\n".join(line for line in lines if line)


def import_prompts(folder: str | Path, annotations: str | Path) -> Imported:
    """Replace the prompts of a folder by published ones, matched by mask name without extension.

    If several files have different prompts for a mask, the file named after the mask's split is
    used; if there is no such file, the mask keeps its prompts.

    Args:
        folder: Has ``images/``, ``masks/`` and ``anns/``; its prompts are replaced.
        annotations: A JSON file with a list of objects with ``mask_name`` and ``prompts``; or a
            folder of such files, directly or in ``anns/``.

    Returns:
        Which prompts were imported and which were not.

    Raises:
        FileNotFoundError: If there are no annotations.
        ValueError: If a file cannot be read, or none of its masks is in the folder.
    """
    opened = open_folder(Path(folder))
    published = _published(Path(annotations))
    prompts: dict[tuple[str, str], Prompts] = {}
    missing: list[str] = []
    ambiguous: list[str] = []
    for split, entry in opened.all_entries:
        offered = published.get(entry.key, [])
        chosen = _choose(offered, split)
        if chosen is not None:
            prompts[split, entry.mask_name] = chosen
        else:
            (ambiguous if offered else missing).append(entry.mask_name)
    if not prompts:
        raise ValueError(
            f"Expected prompts for masks of {folder} in {annotations}, but none of its "
            f"{len(published)} masks{_such_as(published)} is called like one here"
            f"{_such_as([entry.key for _, entry in opened.all_entries])}. Check that both are of "
            "the same data set."
        )
    opened.put_prompts(prompts)
    taken = {split: sum(of == split for of, _ in prompts) for split in opened.entries}
    here = {entry.key for _, entry in opened.all_entries}
    unused = tuple(key for key in published if key not in here)
    return Imported(taken, tuple(missing), tuple(ambiguous), unused)


def _published(annotations: Path) -> _Texts:
    files = _files(annotations)
    records = [(path, number, record) for path in files for number, record in _records(path)]
    refuse(
        [
            f"{path}, entry {number}: no 'mask_name' with a text, or no 'prompts'"
            for path, number, record in records
            if not _usable(record)
        ],
        "Expected published prompts, got entries that palpate cannot use",
    )
    found: _Texts = {}
    for path, _, record in records:
        offered = found.setdefault(_key(record["mask_name"]), [])
        offered.append((path.stem, dict(record["prompts"])))
    return found


def _files(annotations: Path) -> list[Path]:
    if annotations.is_file():
        return [annotations]
    for folder in (annotations, annotations / "anns"):
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        files = [path for path in files if path.name != "dataset.json"]
        if files:
            return files
    raise FileNotFoundError(
        f"Expected annotations in {annotations}: a JSON file, or a folder that holds some, itself "
        "or in anns/. There are none."
    )


def _records(path: Path) -> list[tuple[int, Any]]:
    return list(enumerate(read_records(path)))


def _usable(record: object) -> bool:
    return (
        isinstance(record, dict)
        and isinstance(record.get("mask_name"), str)
        and are_prompts(record.get("prompts"))
    )


def _choose(offered: Sequence[tuple[str, Prompts]], split: str) -> Prompts | None:
    """The prompts if all files agree, else those of the file named after the split; or None."""
    for candidates in (offered, [each for each in offered if each[0] == split]):
        first = candidates[0][1] if candidates else None
        if first is not None and all(prompts == first for _, prompts in candidates):
            return first
    return None


def _key(mask_name: str) -> str:
    return str(PurePosixPath(mask_name).with_suffix("")) if PurePosixPath(mask_name).name else ""


def _told(names: Sequence[str], what: str) -> str:
    if not names:
        return ""
    shown = [*names[:_SHOWN], *(["..."] if len(names) > _SHOWN else [])]
    return f"{len(names)} {what}: {', '.join(shown)}."


def _such_as(keys: Sequence[str] | Mapping[str, object]) -> str:
    first = next(iter(keys), None)
    return "" if first is None else f" (such as {first!r})"
