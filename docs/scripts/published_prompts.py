"""Parse number, sizes and places from the published prompts of Poudel et al. (2024).

Only these attributes are used, for a comparison with those that palpate measures; the wording is
not.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from palpate.data.wording import SIZES, in_words

Prompts = Mapping[str, str | list[str]]

_NUMBERS = {in_words(number): number for number in range(1, 20)}
_SIZE = f"(?:{'|'.join(SIZES)})"
_CLAIM = re.compile(
    rf"(?P<number>\w+) (?P<sizes>{_SIZE}(?:, {_SIZE})*) (?P<rest>.*)", re.IGNORECASE
)
_PLACES = (
    re.compile(r"located in (.*?) of the"),  # most sets
    re.compile(r"at the (.*?) in the"),  # BUSI
)


class Claims(NamedTuple):
    """The attributes in the published prompts of a mask."""

    number: int
    sizes: tuple[str, ...]  # each once
    places: tuple[str, ...]  # of each part


class Published(NamedTuple):
    """One entry of a published annotation file."""

    split: str
    mask_name: str
    box: tuple[int, int, int, int] | None  # left, top, right, bottom of all foreground, in pixels
    claims: Claims | None  # None for an image without a lesion
    prompts: Prompts


def read_published(folder: Path) -> Iterator[Published]:
    """All entries of a published data set, from those of its three files that exist."""
    for split in ("train", "val", "test"):
        path = folder / "anns" / f"{split}.json"
        for record in json.loads(path.read_text(encoding="utf-8")) if path.is_file() else ():
            box = tuple(record["bbox"]) if "bbox" in record else None
            prompts = record["prompts"]
            yield Published(split, record["mask_name"], box, claims(prompts), prompts)


def claims(prompts: Prompts) -> Claims | None:
    """Number, sizes and places in the prompts; None if they are not given.

    >>> claims({"p6": "two small, medium red round polyp, located in top, left of the image"})
    Claims(number=2, sizes=('small', 'medium'), places=('top', 'left'))
    """
    text = _first(prompts.get("p6", ""))
    found = _CLAIM.match(text)
    if found is None or found["number"].lower() not in _NUMBERS:
        return None
    places = next((match[1] for each in _PLACES if (match := each.search(text))), "")
    return Claims(
        _NUMBERS[found["number"].lower()],
        tuple(found["sizes"].lower().split(", ")),
        tuple(places.split(", ")),
    )


def shape_claimed(prompts: Prompts) -> str:
    """The shape in the prompts of a lesion or of CAMUS, as the VQA model worded it."""
    if "p7" in prompts and " shape in " in _first(prompts["p7"]):
        return re.sub(r".* of (.*?) shape in .*", r"\1", _first(prompts["p7"]))
    return _first(prompts["p2"]).removesuffix(_first(prompts["p1"])).strip()


def colour_claimed(prompts: Prompts) -> str:
    """The colour in the prompts of a lesion, as the VQA model worded it."""
    return _first(prompts["p3"]).removesuffix(_first(prompts["p2"])).strip()


def _first(text: str | list[str]) -> str:
    return text if isinstance(text, str) else text[0]
