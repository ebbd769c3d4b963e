"""Preparation of a data set: incremental conversion of a download for ``load_data``."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, final

from palpate.atomic import remove_leftovers
from palpate.data.annotations import SPLITS
from palpate.data.prepare.annotate import annotate, check_dealing
from palpate.data.prepare.converter import Converter, WrongLayout
from palpate.data.prepare.item import Item, check_items
from palpate.data.prepare.left_out import left_out, summary_of, warn_of
from palpate.data.prepare.output import checksum, member_checksums, write_image
from palpate.data.prepare.record import Ledger, Record, open_ledger
from palpate.data.prepare.registry import CONVERTERS
from palpate.data.prepare.source import Source, open_source
from palpate.data.problems import refuse
from palpate.data.reading.files import UnclearMask
from palpate.data.structures import advice, values_found
from palpate.data.wording import wording_of, write_prompts
from palpate.errors import did_you_mean
from palpate.progress import Progress, silent

_OF_NAMES = ("images", "masks", "group")  # options that are patterns of names of files

# Converters for user data.
OWN_WAYS = (
    "pairs (a folder of images and one of masks), coco (outlines in JSON) or mask2d (NIfTI, "
    "MetaImage, DICOM)"
)


def prepare(
    name: str,
    source: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = silent,
    options: Mapping[str, str] | None = None,
    split_as: str = "",
) -> Path:
    """Write the images, masks and annotations of a data set from its official download.

    A second run writes only what changed: an image is written again if its source files or the
    version of the converter changed, or if its output is missing or altered. An interrupted run
    resumes. A damaged file does not affect the others. Images and volumes of the source that the
    converter does not use are listed in a warning and in ``dataset.json``.

    Args:
        name: One of ``CONVERTERS``.
        source: The download: a folder, a zip or a tar, or a folder of several archives.
        out: Output folder, the ``root`` of ``load_data``. The data set is a folder in it with
            ``images/``, ``masks/``, ``anns/`` and ``dataset.json``.
        seed: Seed of the splits, if there is no official split.
        workers: Number of threads; by default one per core.
        progress: Called for every image.
        options: Options of the converter; the defaults are in ``CONVERTERS[name].options``.
        split_as: ``train``, ``val`` or ``test``: one split for everything, such as a test set of
            one patient, in place of official or random splits.

    Returns:
        The folder of the data set.

    Raises:
        FileNotFoundError: If the source does not exist.
        ValueError: If an argument makes no sense; if the source is damaged, unsafe or not the data
            set in the folder; or if files cannot be read or do not fit each other: the problems are
            listed, and images that were prepared are kept.
    """
    converter = _converter(name)
    if workers is not None and workers < 1:
        raise ValueError(f"Expected workers >= 1, got {workers}.")
    if split_as not in ("", *SPLITS):
        raise ValueError(
            f"Expected split_as to be {', '.join(SPLITS)}, or empty for splits by patient, got "
            f"{split_as!r}."
        )
    folder = Path(out) / converter.folder
    with open_source(source) as opened:
        _refuse_overlap(opened.path, folder)
        items = _found(converter, opened, options or {}, split_as)
        rest = left_out(opened, converter, items)
        warn_of(opened, converter, rest)
        with open_ledger(folder, name) as ledger:
            _refuse_another(ledger, converter, items, options or {})
            remove_leftovers(folder)
            chosen = _to_tell(converter, items, options or {})
            ledger.begin(chosen)
            work = _Work(converter, opened, ledger, json.dumps(options or {}))
            records = _run(work, items, workers or os.cpu_count() or 1, progress)
            _refuse_all_empty(converter, items, records)
            told: dict[str, Any] = {"left_out": summary_of(rest, items)} if rest else {}
            told |= {"options": chosen} if chosen else {}
            annotate(ledger, converter, items, records, seed, told)
        _warn(opened.doubts)
    return folder


def looks_like(source: Source) -> list[str]:
    """Names of the published data sets that a source may contain."""
    return [name for name, other in CONVERTERS.items() if other.card and _fits(other, source)]


@final
@dataclass(frozen=True)
class _Work:
    """Preparation of one data set; called once per image."""

    converter: Converter
    source: Source
    ledger: Ledger
    options: str

    def __call__(self, items: Sequence[Item]) -> list[Record]:
        """Write an image with its masks if it is new or changed, and return the records."""
        recipes = [self._recipe(item) for item in items]
        known = [self.ledger.before.get(item.mask_name) for item in items]
        kept = [record for record in known if record is not None]
        if len(kept) == len(items) and all(map(self._holds, items, recipes, kept)):
            return kept
        texts = partial(write_prompts, self.converter.name)
        made = write_image(items, self.source, self.ledger.folder, recipes, texts)
        self.ledger.add(made)
        return made

    def _holds(self, item: Item, recipe: str, record: Record) -> bool:
        """Whether a record is up to date: same recipe, same source files, unchanged output."""
        there = self.ledger.folder
        return (
            record.recipe == recipe
            and record.members == member_checksums(item, self.source)
            and all(checksum(there / name) == known for name, known in record.files.items())
        )

    def _recipe(self, item: Item) -> str:
        """Hash of everything except file contents that determines the output of an item."""
        # Private names are not even hashed, since a hash would confirm a guessed name.
        members = (len(item.members),) if item.is_private else item.members
        decided = (
            self.converter.name, self.converter.version, self.options, item.image_name,
            item.mask_name, item.group, item.structure, members, item.original,
            sorted(item.facts.items()), repr(wording_of(self.converter.name)),
        )  # fmt: skip
        return sha256(json.dumps(decided).encode()).hexdigest()


def _converter(name: str) -> Converter:
    if name in CONVERTERS:
        return CONVERTERS[name]
    raise ValueError(
        f"Expected a data set among {', '.join(CONVERTERS)}, got {name!r}."
        f"{did_you_mean(name, CONVERTERS)} For your own data: {OWN_WAYS}."
    )


def _warn(doubts: Sequence[str]) -> None:
    if doubts:
        warnings.warn(
            f"{len(doubts)} masks have no EXIF orientation though their images have one, such as "
            f"{doubts[0]}; they were turned like the images, which their sizes allow but do not "
            "prove. Look at one.",
            stacklevel=3,
        )


def _refuse_overlap(source: Path, folder: Path) -> None:
    here, there = source.resolve(), folder.resolve()
    if source.is_dir() and (there.is_relative_to(here) or here.is_relative_to(there)):
        raise ValueError(
            f"Expected source and output apart, got {source} and {folder}, one in the other. "
            "Choose another --out."
        )


def _refuse_another(
    ledger: Ledger, converter: Converter, items: Sequence[Item], options: Mapping[str, str]
) -> None:
    """Raise an error if another user data set would be replaced: folders are named by format.

    One that was never finished may be, or a failed command would refuse its own correction.
    """
    if converter.card or not ledger.before or not ledger.is_finished:
        return
    if any(item.mask_name in ledger.before for item in items):
        return
    changed = _changed(converter, ledger.options, options)
    what = (
        f"Expected the options that {ledger.folder} was prepared with, but {changed}, so that "
        if changed
        else f"Expected the source and options that {ledger.folder} was prepared with, but "
    )
    raise ValueError(
        f"{what}none of its {len(ledger.before)} masks would remain. Choose another --out to have "
        "both, or delete that folder first."
    )


def _changed(converter: Converter, before: Mapping[str, str] | None, now: Mapping[str, str]) -> str:
    """Options that differ from those of the earlier preparation; empty if none is known to."""
    if before is None:
        return ""
    given = {**converter.options, **now}
    changed = [name for name, old in before.items() if given.get(name) != old]
    return " and ".join(f"{n} was {before[n]!r} and is {given.get(n)!r}" for n in changed)


def _to_tell(
    converter: Converter, items: Sequence[Item], options: Mapping[str, str]
) -> dict[str, str]:
    """Options to store, with their defaults; none that could contain the name of a patient."""
    is_private = any(item.is_private for item in items)
    given = {**converter.options, **options}
    return {k: v for k, v in given.items() if not (is_private and k in _OF_NAMES)}


def _refuse_all_empty(
    converter: Converter, items: Sequence[Item], records: Sequence[Record]
) -> None:
    """Raise an error if no mask of the user has foreground; that all are healthy is not likely."""
    if converter.card or any(record.area for record in records):
        return
    stored = [item for item in items if item.count_values is not None]
    found = f"; they have {values_found(stored)}" if stored else ""
    raise ValueError(
        f"Expected foreground in some of the {len(records)} masks, got none in any{found}. If they "
        "were drawn with 0 and 1 and stored as JPEG, the format has destroyed them: export them "
        "again as PNG. If the structure has another value, name it: --mask.values 127."
    )


def _found(
    converter: Converter, source: Source, options: Mapping[str, str], split_as: str
) -> Sequence[Item]:
    unknown = [option for option in options if option not in converter.options]
    if unknown:
        known = ", ".join(converter.options) or "none"
        instead = converter.instead.get(unknown[0])
        hint = f" {instead}" if instead else did_you_mean(unknown[0], converter.options)
        raise ValueError(
            f"Expected options of {converter.name} among {known}, got {unknown[0]!r}.{hint}"
        )
    try:
        items = converter.find(source, **{**converter.options, **options})
    except WrongLayout as error:
        raise ValueError(f"{error}{_hint(source, converter)}") from error
    if split_as:
        items = [replace(item, split=split_as) for item in items]
    check_items(items)
    check_dealing(items)
    return items


def _hint(source: Source, converter: Converter) -> str:
    likely = looks_like(source)
    if likely:
        return f" It looks like {' or '.join(likely)}: palpate data prepare {likely[0]}."
    if not converter.card:  # the user knows that it is no published set
        return ""
    return (
        " It is not one of the data sets that palpate knows. For your own data: palpate data "
        f"prepare {OWN_WAYS}."
    )


def _fits(converter: Converter, source: Source) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bool(converter.find(source, **converter.options))
    except WrongLayout:
        return False
    except ValueError:  # it is this data set, but some files are wrong
        return True


def _run(work: _Work, items: Sequence[Item], workers: int, progress: Progress) -> list[Record]:
    """Prepare all images in parallel, and return the records in the order of the items.

    Raises:
        ValueError: If images could not be prepared, after all others were.
    """
    images: dict[str, list[Item]] = {}
    for item in items:
        images.setdefault(item.image_name, []).append(item)
    records: dict[str, Record] = {}
    problems, unclear = list[str](), list[UnclearMask]()
    with _pool(workers) as pool:
        futures = {pool.submit(work, some): some for some in images.values()}
        for done, future in enumerate(as_completed(futures), start=1):
            try:
                made = future.result()
            except ValueError as error:
                problems.append(str(error))
                unclear += [error] if isinstance(error, UnclearMask) else []
                continue
            records |= {record.mask_name: record for record in made}
            progress(f"prepare {work.converter.name}", done, len(images))
    refuse(
        sorted(problems),
        f"{len(images) - len(problems)} of {len(images)} images are prepared; the others could "
        "not be",
        remedy=f"{_advice(work.converter, unclear)} and run the same command again; what is done "
        "is kept.",
    )
    return [records[item.mask_name] for item in items]


def _advice(converter: Converter, unclear: Sequence[UnclearMask]) -> str:
    """What to do about files that could not be prepared."""
    if not unclear:
        return "Replace these files"
    if "values" not in converter.options:
        return "Write one binary mask per structure"
    values = [value for each in unclear for value in each.values]
    return f"{advice(values, '--mask')} Replace files that have another fault"


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers)  # decoding, hashing and compression release the GIL
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
