"""Rewriting of the prompts of a data folder from its images, masks and metadata."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palpate.data.annotations import FileEntry
from palpate.data.check import check_paths
from palpate.data.problems import refuse
from palpate.data.prompts.annotated_folder import AnnotatedFolder, Prompts, open_folder
from palpate.data.wording import (
    TRUE,
    Rule,
    Wording,
    facts_in_name,
    known_sets,
    read_wording,
    write_prompts,
)
from palpate.errors import did_you_mean
from palpate.progress import Progress, silent

_THREADS = 4  # threads suffice: decoding releases the global interpreter lock
_OFTEN = 50  # images between two reports of progress


@dataclass(frozen=True)
class _Writer:
    """Callable that writes the prompts of one entry; stores what all entries share."""

    folder: AnnotatedFolder
    dataset: str
    structure: str | None
    wording: Wording | None
    rule: Rule
    synonyms: int

    def __call__(self, entry: FileEntry) -> tuple[Prompts | None, str]:
        """Prompts and an empty message, or None and an error message."""
        try:
            image, mask = entry.read(None)
            pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
            structure = self.structure or self.folder.structure_of(entry, self.dataset)
            # Annotated facts take precedence over those in file names.
            facts = {**facts_in_name(self.dataset, entry.image_name), **entry.facts}
            return write_prompts(
                self.dataset,
                structure,
                np.ascontiguousarray(pixels),
                mask[0].numpy(),
                facts,
                wording=self.wording,
                rule=self.rule,
                synonyms=self.synonyms,
            ), ""
        except ValueError as error:
            return None, f"{entry.mask_name}: {error}"


def rewrite_prompts(
    folder: str | Path,
    *,
    templates: str | Path | None = None,
    dataset: str | None = None,
    structure: str | None = None,
    rule: Rule = TRUE,
    synonyms: int = 0,
    progress: Progress = silent,
) -> dict[str, int]:
    """Write the prompts of all entries of a folder from its images, masks and metadata.

    Nothing is written unless all prompts can be written; other fields of the annotations are kept.

    Args:
        folder: Has ``images/``, ``masks/`` and ``anns/``.
        templates: File of templates, see :func:`palpate.data.wording.read_wording`; by default
            those of the data set.
        dataset: Name of the data set, which selects templates and the facts in file names; by
            default from ``dataset.json`` or the name of the folder.
        structure: Structure that all masks outline; by default from annotations or mask names.
        rule: Thresholds between words such as small and medium.
        synonyms: Largest number of additional phrasings, see
            :func:`palpate.data.wording.write_prompts`.
        progress: Called as images are processed.

    Returns:
        Number of entries by split.

    Raises:
        FileNotFoundError: If annotations, templates or files are missing.
        ValueError: If files cannot be read or do not fit; the problems are listed.
    """
    if synonyms < 0:
        raise ValueError(f"Expected synonyms >= 0, got {synonyms}.")
    opened = open_folder(Path(folder))
    entries = list(opened.all_entries)
    check_paths([entry for _, entry in entries], opened.folder)
    facts = {name for _, entry in entries for name in entry.facts}
    wording = read_wording(Path(templates), sorted(facts)) if templates else None
    writer = _Writer(opened, _named(opened, dataset), structure, wording, rule, synonyms)
    found = _all(writer, [entry for _, entry in entries], progress)
    refuse([fault for _, fault in found if fault], "Expected prompts for all entries")
    prompts = {
        (split, entry.mask_name): texts
        for (split, entry), (texts, _) in zip(entries, found, strict=True)
        if texts is not None
    }
    opened.put_prompts(prompts)
    return {split: len(part) for split, part in opened.entries.items()}


def _named(opened: AnnotatedFolder, dataset: str | None) -> str:
    if dataset is None:
        return opened.dataset
    if dataset not in known_sets():
        raise ValueError(
            f"Expected a data set with a wording, {', '.join(known_sets())}, got {dataset!r}."
            f"{did_you_mean(dataset, known_sets())}"
        )
    return dataset


def _all(
    writer: _Writer, entries: list[FileEntry], progress: Progress
) -> list[tuple[Prompts | None, str]]:
    found = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, result in enumerate(pool.map(writer, entries), start=1):
            found.append(result)
            if done % _OFTEN == 0 or done == len(entries):
                progress("prompts", done, len(entries))
    return found
