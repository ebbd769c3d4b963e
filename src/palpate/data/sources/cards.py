"""Cards of published data sets: licence, source, citation and official size."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class Card:
    """A published data set as its publisher describes it.

    Attributes:
        title: Its full name.
        licence: Its licence, or the terms its publisher states.
        url: Where to download it.
        citation: What to cite.
        counts: Official number of images by split, or under ``all`` if it has no split.
        modality: How the images were taken.
        target: Structure that the masks outline.
    """

    title: str
    licence: str
    url: str
    citation: str
    counts: Mapping[str, int]
    modality: str
    target: str


def _read() -> dict[str, Card]:
    text = files("palpate.data.sources").joinpath("cards.yaml").read_text(encoding="utf-8")
    cards: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {name: Card(**values) for name, values in cards.items()}


CARDS: Mapping[str, Card] = _read()
