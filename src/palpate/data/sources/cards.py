"""Cards of published data sets: licence, source, citation and official size."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class Card:
    """Description of a published data set, as given by its publisher.

    Attributes:
        title: Full name.
        licence: Licence or terms of use.
        url: Download page.
        citation: Reference to cite.
        counts: Official number of images by split, or under ``all`` if there is no official split.
        modality: Imaging modality.
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
