"""Data sets in the format of Hugging Face ``datasets``: a saved directory, or a name on the hub.

In recipes and on the command line such a data set is called ``hf:`` followed by its directory or
hub name, and after a question mark by the names of columns that cannot be guessed:
``hf:me/polyps?image=scan&mask=outline&prompts=caption&group=patient``. ``config`` selects one of
several configurations, ``text`` is the prompt of every sample if there is no column of prompts, and
``values`` and ``ignore`` say what the values of masks mean if these are not binary, such as
``values=255=tumour,127=liver&ignore=1``; ``label=127`` is the same as ``values=127``.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from PIL import Image

from palpate.data.annotations import ALL_SPLITS, check_limit, check_split
from palpate.data.dataset import DatasetSpec, PromptedDataset
from palpate.data.patients import patient_or_name
from palpate.data.problems import refuse
from palpate.data.prompt_policy import PromptPolicy
from palpate.data.reading.mask_values import Values, structures_of
from palpate.data.reading.optional import needed
from palpate.data.sources.registry import always
from palpate.data.sources.samples import OwnEntry, check_pixels, dataset_of, texts_of
from palpate.data.structures import only_present, structures_shown
from palpate.errors import did_you_mean
from palpate.located import located

PREFIX = "hf:"

_SPLITS = {
    "train": ("train", "training"),
    "val": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
# Usual column names, by the name of the field in palpate.
_COLUMNS = {
    "image": ("image", "img", "pixel_values"),
    "mask": ("mask", "label", "segmentation", "annotation", "segmentation_mask", "seg", "gt"),
    "prompts": ("prompts", "prompt", "text", "caption", "sentence", "sentences"),
    "key": ("key", "id", "image_id", "file_name"),
    "group": ("group", "patient", "patient_id", "subject", "subject_id"),
    "structure": ("structure", "finding", "category"),
}
_OPTIONS = (*_COLUMNS, "config", "text", "label", "values", "ignore")
_REQUIRED = ("image", "mask")


def from_hugging_face(
    dataset: Any,
    *,
    split: str = "test",
    size: int | None = None,
    prompt: str = "random",
    override_prompt: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    structure: str = "foreground",
    mirrors: bool = True,
    check: bool = True,
    options: Mapping[str, str] | None = None,
    values: Values = None,
    ignore: Values = None,
) -> PromptedDataset:
    """Load a data set of Hugging Face ``datasets``.

    Texts are read immediately, pixels when a sample is indexed. No code of the data set is run.

    Args:
        dataset: A ``datasets.Dataset`` or ``DatasetDict``; the directory of one that was saved, or
            of images with a ``metadata.jsonl``; or a name on the hub.
        split: ``train``, ``val`` or ``test``; ``val`` also matches ``validation``; ``all`` is every
            split of the set, whatever its name. A table saved without splits counts as the split
            that its metadata name, or else as ``test``; a ``Dataset`` object counts as ``split``.
        size: Side of the square that samples are resized to, in pixels; by default each keeps its
            own size.
        prompt: A level such as ``p3``, ``random`` or ``all``; see :class:`PromptPolicy`.
        override_prompt: One text for every sample, instead of the column.
        seed: Seed of the prompts and of augmentation.
        limit: Use only the first ``limit`` rows.
        structure: Structure that the masks outline, if no column names it.
        mirrors: Whether a mirrored image is still valid, see :class:`DatasetSpec`.
        check: Decode every sample once before returning, so that damaged ones are found now.
        options: Names of columns by their content (``image``, ``mask``, ``prompts``, ``key``,
            ``group``, ``structure``), and ``config``, ``text``, ``label``, ``values`` and
            ``ignore``; see the module.
        values: What the values of the masks mean, if these are not binary; see
            :func:`palpate.load_pairs`.
        ignore: Values of pixels that count in no loss, attack or metric, such as ``255``.

    Returns:
        The data set; pixels are read when a sample is indexed.

    Raises:
        FileNotFoundError: If ``dataset`` is neither a directory nor a name on the hub.
        ValueError: If there is no such split or column, or texts are missing.
        RuntimeError: If ``datasets`` is not installed.
    """
    check_split(split)
    check_limit(limit)
    options = options or {}
    _refuse_unknown(options)
    name = dataset if isinstance(dataset, str | Path) else "a Hugging Face data set"
    loaded = _loaded(dataset, options.get("config"))
    if loaded is not dataset and not isinstance(loaded, Mapping):
        _refuse_undivided(loaded, split, str(name))
    table = _split(loaded, split, str(name))
    if limit is not None:
        table = table.select(range(min(limit, len(table))))
    if not len(table):
        raise ValueError(f"Expected at least one row in split {split!r} of {name}, got none.")
    columns = _columns(table, options, str(name))
    structures = structures_of(
        _told(values, options.get("values")), _told(ignore, options.get("ignore"))
    )
    text = override_prompt or options.get("text")
    found = _entries(table, columns, text or structures[0].name or None, options.get("label"))
    entries = structures_shown(found, structures)
    if check:
        entries = only_present(entries, check_pixels(entries), structures)
    spec = DatasetSpec(
        _short(str(name)), "", partial(always, structure), patient_or_name, mirrors=mirrors
    )
    return dataset_of(entries, spec, split, size, PromptPolicy(prompt, override_prompt, seed))


def parse_name(name: str) -> tuple[str, dict[str, str]]:
    """Split a name ``hf:...`` into the directory or hub name and the options.

    >>> parse_name("hf:me/polyps?mask=outline&text=a polyp")
    ('me/polyps', {'mask': 'outline', 'text': 'a polyp'})

    Raises:
        ValueError: If the directory or name is missing, or an option is unknown.
    """
    place, _, query = name.removeprefix(PREFIX).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not place:
        raise ValueError(f"Expected a directory or a name on the hub after {PREFIX}, got {name!r}.")
    _refuse_unknown(options)
    return place, options


def _refuse_unknown(options: Mapping[str, str]) -> None:
    for option in options:
        if option not in _OPTIONS:
            raise ValueError(
                f"Expected options among {', '.join(_OPTIONS)}, got {option!r}."
                f"{did_you_mean(option, _OPTIONS)}"
            )


def _loaded(dataset: Any, config: str | None) -> Any:
    datasets = needed("datasets")
    if not isinstance(dataset, str | Path):
        return dataset
    path = located(dataset)
    try:
        if any((path / mark).is_file() for mark in ("dataset_dict.json", "state.json")):
            return datasets.load_from_disk(str(path))
        return datasets.load_dataset(str(path), config)
    except Exception as error:  # many libraries below: files, network, parsing
        place = "a directory" if path.exists() else "neither a directory nor reachable on the hub"
        raise FileNotFoundError(
            f"Expected a data set of Hugging Face in {dataset}, which is {place}, but: "
            f"{str(error)[:300]}"
        ) from error


def _split(loaded: Any, split: str, name: str) -> Any:
    if not isinstance(loaded, Mapping):
        return loaded
    if split == ALL_SPLITS:
        return needed("datasets").concatenate_datasets(list(loaded.values()))
    for candidate in _SPLITS[split]:
        if candidate in loaded:
            return loaded[candidate]
    raise ValueError(
        f"Expected split {split!r} ({' or '.join(_SPLITS[split])}) in {name}, got "
        f"{', '.join(map(str, loaded))}. Choose another split, or divide the set first."
    )


def _refuse_undivided(table: Any, split: str, name: str) -> None:
    """Raise an error if a table without splits is requested as a split other than its own.

    Used as two splits, the same table would leak test images into training.
    """
    told = re.match(r"[a-z]*", str(table.split or "").lower())
    found = [mine for mine, names in _SPLITS.items() if told and told[0] in names]
    own = found[0] if found else "test"
    if split not in (own, ALL_SPLITS):
        raise ValueError(
            f"Expected split {split!r} in {name}, got one table that is not divided, which counts "
            f"as {own!r} alone. Divide it (train_test_split of datasets) and save the whole, or "
            f"name another set for {split!r}."
        )


def _columns(table: Any, options: Mapping[str, str], name: str) -> dict[str, str]:
    """Column of each field: as given in the options, else the first usual name that exists."""
    there = list(table.column_names)
    found = {}
    for kind, usual in _COLUMNS.items():
        told = options.get(kind)
        if told is not None and told not in there:
            raise ValueError(
                f"Expected a column {told!r} in {name}, got {', '.join(there)}."
                f"{did_you_mean(told, there)}"
            )
        fits = [c for c in there if kind not in _REQUIRED or _is_picture(table.features[c])]
        guess = told or next((column for column in usual if column in fits), None)
        if guess is not None:
            found[kind] = guess
    missing = [kind for kind in _REQUIRED if kind not in found]
    if missing:
        raise ValueError(
            f"Expected a column for {' and '.join(missing)} in {name}, got {', '.join(there)}. Say "
            f"which, as in {PREFIX}{name}?{missing[0]}=COLUMN."
        )
    return found


def _is_picture(feature: Any) -> bool:
    """Whether a column can hold pixels; one class or number per row cannot."""
    return type(feature).__name__ not in ("ClassLabel", "Value")


def _entries(
    table: Any, columns: Mapping[str, str], text: str | None, label: str | None
) -> Sequence[OwnEntry]:
    # Without the image columns, rows are read without decoding pixels.
    told = {kind: column for kind, column in columns.items() if kind not in _REQUIRED}
    rows = table.select_columns(list(dict.fromkeys(told.values())))
    if text is None and "prompts" not in told:
        raise ValueError(
            "Expected a column of prompts, or one text for all (override_prompt, or text= in the "
            f"name), got neither among {', '.join(table.column_names)}."
        )
    values = _label(label)
    entries, problems = [], []
    for index in range(len(table)):
        row = rows[index] if told else {}
        given = {kind: row[column] for kind, column in told.items() if row[column] is not None}
        key = str(given.get("key", f"{index:06d}"))
        try:
            texts = texts_of(given["prompts"]) if "prompts" in given else texts_of(text)
        except ValueError as error:
            problems.append(f"{key}: {error}")
            continue
        group, structure = (
            str(given[kind]) if kind in given else None for kind in ("group", "structure")
        )
        read = partial(_pixels, table, index, columns["image"], columns["mask"], values)
        entries.append(OwnEntry(key, key, texts, group, structure, read))
    refuse(problems, "Expected texts in every row")
    return entries


def _told(given: Values, option: str | None) -> Values:
    """Values as given in Python, or else in the name of the data set."""
    return option.split(",") if given is None and option is not None else given


def _label(label: str | None) -> int | None:
    if label is None or label.isdecimal():
        return None if label is None else int(label)
    raise ValueError(f"Expected a whole number for label, got {label!r}.")


def _pixels(
    table: Any, index: int, image: str, mask: str, label: int | None
) -> tuple[Image.Image, Any, None]:
    row = table[index]
    drawing = row[mask]
    if label is None:
        return row[image], drawing, None
    return row[image], np.asarray(drawing) == label, None


def _short(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1] or name
