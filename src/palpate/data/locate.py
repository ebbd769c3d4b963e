"""Search for a data folder by the name of its data set or by its path."""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from palpate.data.dataset import DatasetSpec
from palpate.data.load import ROOT_VARIABLE, data_folder, data_root
from palpate.data.phantoms import PHANTOMS
from palpate.data.sources.cards import CARDS, Card
from palpate.data.sources.hugging_face import PREFIX as HF
from palpate.data.sources.registry import DATASETS
from palpate.errors import did_you_mean

_OWN = "folder"


class Located(NamedTuple):
    """A data folder with its data set.

    Attributes:
        folder: Path of the folder.
        spec: Properties of the data set.
        card: Published description; None if there is none.
    """

    folder: Path
    spec: DatasetSpec
    card: Card | None


def locate(name: str, root: Path | None = None) -> Located:
    """Find a data set by its name, or by the path of its folder.

    A folder is identified as a known data set by its ``dataset.json``, or else by its own name. Any
    other folder is a user's data set, named after the folder.

    Args:
        name: One of ``DATASETS``; or a folder below the root that has ``anns/`` (such as ``pairs``,
            made by ``palpate data prepare pairs``); or the path of such a folder. Write
            ``./kvasir`` for a folder that has the name of a data set.
        root: Contains the folders of data sets; by default ``PALPATE_DATA``, or else ``data``.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If there is no such data set, or it has no folder (phantoms, Hugging Face).
    """
    if name in PHANTOMS:
        raise ValueError(
            f"Expected a data set of files, got {name!r}, whose images are drawn as they are asked "
            "for: there is nothing to check or to split."
        )
    if name.startswith(HF):
        raise ValueError(
            f"Expected a data set of files, got {name!r}, which has no folder to check or to "
            "split: every sample of such a set is opened when a run loads it, and `palpate data "
            "show` shows them."
        )
    if name == _OWN:
        return _at(data_root(root))
    if name in DATASETS:
        spec = DATASETS[name]
        return Located(data_folder(spec, root), spec, CARDS.get(name))
    below, given = data_root(root) / name, Path(name)
    # A root that was given explicitly takes precedence over the working directory.
    for folder in (below, given) if root is not None else (given, below):
        if _has_annotations(folder):
            return _at(folder)
    if given.is_dir():
        return _at(given)  # the error about missing annotations is left to the caller
    hint = did_you_mean(name, DATASETS)
    if hint or not ("/" in name or "\\" in name):
        raise ValueError(
            f"Expected the folder of a data set, one in {data_root(root)} (--root or "
            f"{ROOT_VARIABLE}) or one of {', '.join(DATASETS)}, got {name!r}.{hint}"
        )
    raise FileNotFoundError(f"Expected the folder of a data set, but {name} is not there.")


def _has_annotations(folder: Path) -> bool:
    return (folder / "anns").is_dir()


def _at(folder: Path) -> Located:
    """The data set in a folder, by its ``dataset.json`` or else by the name of the folder."""
    name = _named_in(folder) or folder.resolve().name
    known = [n for n, s in DATASETS.items() if n not in PHANTOMS and name in (n, s.folder)]
    if known and name:
        return Located(folder, DATASETS[known[0]], CARDS.get(known[0]))
    return Located(folder, replace(DATASETS[_OWN], name=name), None)


def _named_in(folder: Path) -> str:
    """The name in ``dataset.json``; empty if that is missing or damaged."""
    try:
        summary = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        name = summary["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return name if isinstance(name, str) else ""
