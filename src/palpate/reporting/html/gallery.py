"""The examples of the page, limited in number to keep the file small."""

import base64
import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, features

from palpate.evaluation.results.examples import Example
from palpate.reporting.figures.strips import Panel, Strip, magnification, magnified, outline
from palpate.reporting.labels import attack_label, epsilon_label, norm_name

# WebP keeps the grain of an attack in half the bytes of JPEG, but Pillow may lack it.
_FORMAT: Final = "WEBP" if features.check("webp") else "JPEG"
_PICTURES: Final = 300  # on one page, about 5 MB of text
_MOST: Final = 6  # samples of one data set and structure
_LONGEST: Final = 224


@dataclass(frozen=True)
class Picture:
    """One image of the page: its pixels, the prediction and the magnified perturbation."""

    label: str
    source: str
    change: str  # empty for the clean image
    path: str
    dsc: float
    failure: str


@dataclass(frozen=True)
class Sample:
    """One sample, clean and under one attack."""

    name: str
    key: str
    prompt: str
    width: int
    height: int
    truth: str
    clean: Picture
    attacked: tuple[Picture, ...]


@dataclass(frozen=True)
class Gallery:
    """The samples of one data set and structure under one attack."""

    facet: str
    attack: str
    factor: int
    samples: tuple[Sample, ...]
    stored: int
    first: bool  # shown before the reader chooses another attack


def galleries(panels: dict[Panel, list[Strip]], first: str) -> list[Gallery]:
    """Convert panels to pictures, with as many samples as the size of the page allows.

    Args:
        panels: Strips by facet, attack and norm.
        first: The attack shown when the page opens.
    """
    each = sum(1 + 2 * max(len(s.attacked) for s in some) for some in panels.values())
    count = max(1, min(_MOST, _PICTURES // max(1, each)))
    return [
        _gallery(panel, some[:count], len(some), panel[1] == first)
        for panel, some in panels.items()
    ]


def thumbnails(panels: dict[Panel, list[Strip]]) -> dict[tuple[str, str], str]:
    """A small clean picture for each stored (facet, key)."""
    clean = {(p[0], s.clean.row.key): s.clean for p, some in panels.items() for s in some}
    return {name: data_uri(example.image, 96) for name, example in clean.items()}


def _gallery(panel: Panel, some: list[Strip], stored: int, first: bool) -> Gallery:
    facet, attack, norm = panel
    factor = magnification(some)
    name = attack_label(attack) + ("" if norm == "linf" else f" ({norm_name(norm)})")
    return Gallery(facet, name, factor, tuple(_sample(s, factor) for s in some), stored, first)


def _sample(strip: Strip, factor: int) -> Sample:
    row = strip.clean.row
    height, width = strip.clean.mask.shape
    return Sample(
        name=row.image_name,
        key=row.key,
        prompt=row.prompt,
        width=width,
        height=height,
        truth=svg_path(strip.clean.mask),
        clean=_picture(strip.clean, "clean", ""),
        attacked=tuple(
            _picture(
                e,
                epsilon_label(e.row.epsilon, e.row.norm),
                data_uri(magnified(strip, e, factor), _LONGEST, quality=45),
            )
            for e in strip.attacked
        ),
    )


def _picture(example: Example, label: str, change: str) -> Picture:
    return Picture(
        label=label,
        source=data_uri(example.image, _LONGEST),
        change=change,
        path=svg_path(example.prediction),
        dsc=example.row.dsc,
        failure=example.row.failure,
    )


def data_uri(image: Float[np.ndarray, "3 h w"], longest: int, quality: int = 80) -> str:
    """The image as a compressed picture in a ``data:`` address, at most ``longest`` pixels long.

    For display only: scores are computed on uncompressed images.
    """
    pixels = np.moveaxis((image * 255).round().clip(0, 255).astype(np.uint8), 0, -1)
    picture = Image.fromarray(pixels)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, _FORMAT, quality=quality)
    return f"data:image/{_FORMAT.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def svg_path(mask: Bool[np.ndarray, "h w"]) -> str:
    """The outline of a mask as the ``d`` of an SVG path, in pixels of the mask.

    >>> svg_path(np.ones((2, 2), dtype=bool)).endswith("Z")
    True
    """
    parts = []
    for line in outline(mask):
        points = " ".join(f"{x:g} {y:g}" for x, y in _corners(line))
        parts.append(f"M{points}Z")
    return "".join(parts)


def _corners(line: np.ndarray) -> np.ndarray:
    """Keep only the points at which a closed line changes direction."""
    points = line[:-1]
    turns = (np.roll(points, -1, 0) - points != points - np.roll(points, 1, 0)).any(axis=1)
    corners: np.ndarray = points[turns]
    return corners
