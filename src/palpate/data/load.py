"""Loading of data sets by name: folders, phantoms, Hugging Face sets and pools."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from palpate.data.annotations import FileEntry, check_limit, check_split, read_entries
from palpate.data.cache import cached
from palpate.data.check import check_files, check_paths
from palpate.data.dataset import DatasetSpec, PromptedDataset
from palpate.data.phantoms import PHANTOMS, SPLIT_SIZES, phantom_data
from palpate.data.problems import refuse
from palpate.data.prompt_policy import PromptPolicy, check_levels
from palpate.data.reading.mask_values import Structure, Values, structures_of
from palpate.data.sources.hugging_face import PREFIX, from_hugging_face, parse_name
from palpate.data.sources.pool import merge
from palpate.data.sources.registry import DATASETS
from palpate.data.splits.protocols import POOLS, PROTOCOLS, is_pool, members
from palpate.data.structures import only_present, structures_shown
from palpate.data.subset import spread
from palpate.errors import did_you_mean

ROOT_VARIABLE = "PALPATE_DATA"
FOLDER = "folder"  # name of the user's own data set in the layout of palpate


def load_data(
    name: str,
    root: str | Path | None = None,
    *,
    split: str = "test",
    size: int | None = None,
    prompt: str = "random",
    override_prompt: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    check: bool = True,
    appearance: str | None = None,
    cache: str | Path | None = None,
    annotations: str = "",
    values: Values = None,
    ignore: Values = None,
    title: str | None = None,
) -> PromptedDataset:
    """Load one split of a data set and check all of its files.

    Args:
        name: Name of the data set: one of

            - ``DATASETS``; among these ``folder`` is your own folder in the same layout:
              ``images/``, ``masks/`` and ``anns/{train,val,test}.json``, a list of objects with
              ``img_name``, ``mask_name`` and ``prompts`` (level to text or list of texts), and
              ``phantom-...`` are synthetic images, see :mod:`palpate.data.phantoms`;
            - ``hf:`` followed by a directory or a name on the Hugging Face hub, see
              :mod:`palpate.data.sources.hugging_face`;
            - several names joined by ``+``, or a pool such as ``pooled-polyp`` or ``cross-polyp``,
              which are concatenated, see :mod:`palpate.data.splits.protocols`.
        root: Folder that contains the folder of the data set, or that folder itself; by default
            the environment variable ``PALPATE_DATA``, or else ``data``. Not used by phantoms.
        split: ``train``, ``val``, ``test``, or ``all`` for the three together.
        size: Side of the square that images and masks are resized to, in pixels; by default each
            keeps its own size (phantoms: 224).
        prompt: A level such as ``p3``, ``random`` or ``all``; see :class:`PromptPolicy`.
        override_prompt: One text for every sample, instead of the annotated prompts.
        seed: Seed of the prompts, of training augmentation, and of phantoms.
        limit: Largest number of entries (in a pool, of each data set), spread over patients, see
            :func:`~palpate.data.subset.spread`; the first entries if every image is its own
            patient.
        check: Decode every file once before returning (about a millisecond each), so that damaged
            files are found now and not during a run. Existence is always checked.
        appearance: How phantoms are imaged, such as ``narrow-band``; by default the first
            appearance of their modality. Only for phantoms.
        cache: Folder of cached decoded samples, see :func:`palpate.data.cache.cached`; by default
            every sample is decoded each time.
        annotations: Folder below ``anns/`` with another division of the same data into splits, as
            written by ``palpate data split``.
        values: What the values of the masks mean, if these are not binary; see
            :func:`palpate.load_pairs`. Not for phantoms, whose masks are binary.
        ignore: Values of pixels that count in no loss, attack or metric, such as ``255``.
        title: Name of your own data set in rows, tables and pages; for ``folder`` only.

    Returns:
        The data set; its images are read when a sample is indexed.

    Raises:
        ValueError: If the name, split, prompt level, appearance or another argument is invalid, or
            a file cannot be used.
        FileNotFoundError: If the folder, its annotations, an image or a mask is missing.
    """
    if title is not None and name != FOLDER:
        raise ValueError(f"Expected title only for {FOLDER!r}, got {title!r} for {name!r}.")
    if name.startswith(PREFIX):
        place, options = parse_name(name)
        _refuse_appearance(name, appearance)
        _refuse_annotations(name, annotations)
        return from_hugging_face(
            place, split=split, size=size, prompt=prompt, override_prompt=override_prompt,
            seed=seed, limit=limit, check=check, options=options, values=values, ignore=ignore,
        )  # fmt: skip
    if is_pool(name):
        return _pool(
            name, root, split, limit, size=size, prompt=prompt, override_prompt=override_prompt,
            seed=seed, check=check, appearance=appearance, annotations=annotations, cache=cache,
            values=values, ignore=ignore,
        )  # fmt: skip
    spec = _spec(name) if title is None else replace(_spec(name), name=title)
    check_limit(limit)
    if size is not None and size < 1:
        raise ValueError(f"Expected size >= 1 pixel, got {size}.")
    policy = PromptPolicy(prompt, override_prompt, seed)
    if name in PHANTOMS:
        _refuse_annotations(name, annotations)
        _refuse_values(name, values, ignore)
        check_split(split)
        most = SPLIT_SIZES.get(split, sum(SPLIT_SIZES.values()))
        count = most if limit is None else min(limit, most)
        return phantom_data(
            name, policy, split=split, size=size, count=count, appearance=appearance
        )
    _refuse_appearance(name, appearance)
    structures = structures_of(values, ignore)
    data = _from_files(spec, root, split, size, policy, limit, check, annotations, structures)
    return data if cache is None else cached(data, cache)


def _refuse_appearance(name: str, appearance: str | None) -> None:
    if appearance is not None:
        raise ValueError(
            f"Expected appearance=None for {name!r}, got {appearance!r}: only phantoms "
            f"({', '.join(PHANTOMS)}) can be drawn in another appearance."
        )


def _refuse_values(name: str, values: Values, ignore: Values) -> None:
    if values is not None or ignore is not None:
        raise ValueError(
            f"Expected no values and no ignore for {name!r}, whose masks are drawn and binary, got "
            f"values={values!r}, ignore={ignore!r}."
        )


def _refuse_annotations(name: str, annotations: str) -> None:
    if annotations:
        raise ValueError(
            f"Expected annotations='' for {name!r}, got {annotations!r}: only a folder can have "
            "several divisions."
        )


def _pool(
    name: str, root: str | Path | None, split: str, limit: int | None, **options: Any
) -> PromptedDataset:
    """Load all data sets of a pool, each from its own folder."""
    names = members(name, split)
    specs = [_spec(member) for member in names]
    files = [spec for spec in specs if spec.name not in PHANTOMS]
    folders = [data_folder(spec, root) for spec in files]
    # If root is the folder of one data set, all names find that folder.
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError(
            f"Expected a folder for each of {', '.join(names)}, got {folders[0]} for several. Pass "
            "as root the folder that holds them all."
        )
    parts = [load_data(one, root, split=split, limit=limit, **options) for one in names]
    # A limited run is a trial and need not have the numbers of the published protocol.
    if name in PROTOCOLS and split == "test" and limit is None:
        counts = {p.spec.name: len({case.image_name for case in p.cases}) for p in parts}
        PROTOCOLS[name].check_test(counts)
    return merge(parts, name)


def _from_files(
    spec: DatasetSpec,
    root: str | Path | None,
    split: str,
    size: int | None,
    policy: PromptPolicy,
    limit: int | None,
    check: bool,
    annotations: str,
    structures: Sequence[Structure],
) -> PromptedDataset:
    """Load annotations and check them; files are checked last, since that takes longest."""
    check_split(split)
    folder = data_folder(spec, root)
    listed = spread(read_entries(folder, split, annotations), limit, spec)
    entries = tuple(structures_shown(listed, structures))
    texts = {entry.key: entry.prompts for entry in entries}
    check_levels(policy, texts, str(folder / "anns" / annotations / f"{split}.json"))
    _check_names(entries, spec)
    check_paths(entries, folder)
    if check:
        present = check_files(entries)
        if structures != structures_of():
            entries = tuple(only_present(entries, present, structures))
    return PromptedDataset(spec, split, entries, policy, size)


def _spec(name: str) -> DatasetSpec:
    if name in DATASETS:
        return DATASETS[name]
    raise ValueError(
        f"Expected a data set among {', '.join(DATASETS)}, or several joined by '+', got {name!r}."
        f"{did_you_mean(name, (*DATASETS, *POOLS, *PROTOCOLS))}"
    )


def data_root(root: str | Path | None = None) -> Path:
    """Folder that contains the data sets: ``root`` if given, else $PALPATE_DATA, else ``data``."""
    return Path(root if root is not None else os.environ.get(ROOT_VARIABLE) or "data")


def data_folder(spec: DatasetSpec, root: str | Path | None = None) -> Path:
    """Folder of a data set: its subfolder of the root, or the root itself.

    Args:
        spec: Properties of the data set.
        root: See :func:`data_root`.

    Raises:
        FileNotFoundError: If neither has annotations.
    """
    base = data_root(root)
    for folder in (base / spec.folder, base):
        if (folder / "anns").is_dir():
            return folder
    raise FileNotFoundError(
        f"Expected {spec.name} in {base / spec.folder} (with images/, masks/ and anns/), which is "
        f"not there. Pass root=... (or --data.root), or set {ROOT_VARIABLE} to the folder that "
        "holds it."
    )


def _check_names(entries: tuple[FileEntry, ...], spec: DatasetSpec) -> None:
    """Raise an error if structures or groups cannot be derived from file names."""
    problems = []
    for entry in entries:
        try:
            if entry.structure is None:
                spec.structure(entry.mask_name)
            if entry.group is None:
                spec.group(entry.image_name)
        except ValueError as error:
            problems.append(str(error))
    refuse(problems, f"Expected names as {spec.name} has them")
