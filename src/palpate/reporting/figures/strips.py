"""Arranges stored examples in strips: a sample clean and under attack at increasing radii."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import contourpy
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from palpate.evaluation.results.examples import Example
from palpate.reporting.numbers.checked_rows import CONDITION, IMAGE

Outline: TypeAlias = list[np.ndarray]  # closed lines of (x, y), pixel (0, 0) spans 0 to 1
Panel: TypeAlias = tuple[str, str, str]  # facet, attack, norm
_MID_GREY: Final = 0.5


@dataclass(frozen=True)
class Strip:
    """One sample: its clean example, and those of one attack from small to large radius."""

    clean: Example
    attacked: tuple[Example, ...]


def strips(examples: Iterable[Example], rows: pd.DataFrame) -> dict[Panel, list[Strip]]:
    """Examples by facet, attack and norm, in the order of the rows.

    Examples without a row are left out, because they may be of another run; so are samples whose
    clean image was not stored.
    """
    names = rows[[*IMAGE, *CONDITION]].itertuples(index=False, name=None)
    places = dict(zip(names, rows["facet"], strict=True))
    known = {_identity(e): e for e in examples if _identity(e) in places}
    clean = {name[: len(IMAGE)]: e for name, e in known.items() if e.row.attack == "clean"}
    found: dict[Panel, dict[tuple[object, ...], list[Example]]] = {}
    for name, facet in places.items():
        if name in known and name[: len(IMAGE)] in clean and known[name].row.attack != "clean":
            panel = (facet, known[name].row.attack, known[name].row.norm)
            found.setdefault(panel, {}).setdefault(name[: len(IMAGE)], []).append(known[name])
    return {
        panel: [Strip(clean[sample], _rising(some)) for sample, some in samples.items()]
        for panel, samples in found.items()
    }


def magnification(some: Iterable[Strip]) -> int:
    """Largest integer factor at which the largest perturbation still fits the range of display."""
    deltas = [np.abs(e.image - s.clean.image).max() for s in some for e in s.attacked]
    largest = float(max(deltas, default=0.0))
    return max(1, int(_MID_GREY / largest)) if largest > 0 else 1


def magnified(strip: Strip, example: Example, factor: int) -> Float[np.ndarray, "3 h w"]:
    """Return the perturbation times ``factor``, as an image in which mid-grey is no change."""
    shown: np.ndarray = _MID_GREY + factor * (example.image - strip.clean.image)
    return shown.clip(0.0, 1.0).astype(np.float32)


def outline(mask: Bool[np.ndarray, "h w"]) -> Outline:
    """Closed lines around a mask, also where it touches the border of the image.

    >>> outline(np.zeros((2, 2), dtype=bool))
    []
    """
    padded = np.pad(mask.astype(np.float32), 1)
    lines = cast(list[np.ndarray], contourpy.contour_generator(z=padded).lines(0.5))
    return [np.clip(line - 0.5, 0, mask.shape[::-1]) for line in lines]


def _identity(example: Example) -> tuple[object, ...]:
    row = example.row
    norm = "" if row.attack == "clean" else row.norm
    return (
        *(getattr(row, name) for name in IMAGE),
        row.attack,
        norm,
        float(row.epsilon),
    )


def _rising(some: list[Example]) -> tuple[Example, ...]:
    return tuple(sorted(some, key=lambda example: example.row.epsilon))
