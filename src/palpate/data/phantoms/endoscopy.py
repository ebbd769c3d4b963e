"""Scenes of endoscopic phantoms: bowel, polyps and frame, before they are rendered."""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from palpate.data.phantoms.canvas import Canvas, Region
from palpate.data.phantoms.outline import Outline, random_waves
from palpate.data.phantoms.words import LARGE, SMALL, Attributes, place_word, size_word

Colour: TypeAlias = tuple[float, float, float]

POLYP_COLOURS: dict[str, Colour] = {
    "pink": (0.90, 0.44, 0.38),
    "red": (0.74, 0.19, 0.13),
    "white": (0.96, 0.64, 0.50),
    "yellow": (0.93, 0.53, 0.25),
    "brown": (0.50, 0.21, 0.10),
    "orange": (0.91, 0.36, 0.12),
}
SHAPES = ("round", "oval", "lobed")

_MUCOSA = np.array([(0.84, 0.33, 0.23), (0.86, 0.36, 0.16), (0.82, 0.40, 0.30), (0.70, 0.22, 0.14)])
_NONE, _TWO = 0.04, 0.30  # share of scenes without polyps and with two
_OWN_COLOUR = (0.0, 0.8)  # weight of a single polyp's own colour; the rest is that of the mucosa
_CAMOUFLAGED = 0.3  # below this weight only the relief shows the polyp
_SKETCH = Canvas(64)  # fine enough to measure area and position
_LEAST_VISIBLE = 0.75  # least fraction of a polyp that the frame does not cover


@dataclass(frozen=True)
class Polyp:
    """A polyp and its attributes in words.

    Attributes:
        outline: Outline in the image.
        albedo: Red, green and blue reflectance.
        height: From 0 (flat) to 1 (a hemisphere).
        words: Attributes for prompts.
    """

    outline: Outline
    albedo: Colour
    height: float
    words: Attributes


@dataclass(frozen=True)
class Frame:
    """Overlay of the recorder; lengths in half-sides of the image.

    Attributes:
        corner: Pixels with |x| + |y| above this are black; 2 keeps the corners.
        inset: Width of the black margin.
        box: Width and height of the black box at the lower left; 0 for none.
        text: Whether patient data are shown at the left.
    """

    corner: float
    inset: float
    box: tuple[float, float]
    text: bool

    def visible(self, canvas: Canvas) -> Region:
        """Pixels that show tissue, (h, w)."""
        x, y = canvas.x, canvas.y
        edge = 1 - self.inset
        shown = (abs(x) < edge) & (abs(y) < edge) & (abs(x) + abs(y) < self.corner)
        return shown & ~((x < self.box[0] - 1) & (y > 1 - self.box[1]))


@dataclass(frozen=True)
class EndoscopyScene:
    """A view into the bowel.

    Attributes:
        mucosa: Red, green and blue reflectance of the mucosa.
        lumen: Position of the lumen, x and y; may be outside the image.
        frame: Overlay of the recorder.
        polyps: Visible polyps, from back to front; empty if there is none.
        absent: Polyp that the prompt of a scene without polyps describes; its mask is empty.
    """

    mucosa: Colour
    lumen: tuple[float, float]
    frame: Frame
    polyps: tuple[Polyp, ...]
    absent: Polyp | None = None

    @property
    def asked(self) -> tuple[Attributes, ...]:
        """Attributes of each polyp that a prompt can refer to."""
        polyps = self.polyps if self.absent is None else (self.absent,)
        return tuple(polyp.words for polyp in polyps)

    def mask(self, number: int, canvas: Canvas) -> Region:
        """Mask of the visible part of a polyp, (h, w); later polyps occlude earlier ones."""
        shown = self.frame.visible(canvas)
        if self.absent is not None:
            return np.zeros_like(shown)
        shown &= self.polyps[number].outline.level(canvas) < 1
        for nearer in self.polyps[number + 1 :]:
            shown &= nearer.outline.level(canvas) >= 1
        return shown


def random_endoscopy(rng: np.random.Generator) -> EndoscopyScene:
    """Sample a scene."""
    mucosa = _mucosa(rng)
    frame = _frame(rng)
    kind = rng.random()
    polyps = _polyps(rng, frame, mucosa, 2 if kind > 1 - _TWO else 1)
    absent = kind < _NONE
    return EndoscopyScene(
        mucosa=mucosa,
        lumen=_lumen(rng),
        frame=frame,
        polyps=() if absent else polyps,
        absent=polyps[0] if absent else None,
    )


def _mucosa(rng: np.random.Generator) -> Colour:
    red, green, blue = rng.dirichlet(np.full(len(_MUCOSA), 0.8)) @ _MUCOSA
    return float(red), float(green), float(blue)


def _frame(rng: np.random.Generator) -> Frame:
    has_box = rng.random() < 0.55
    return Frame(
        corner=float(rng.choice([rng.uniform(1.42, 1.65), 2.0], p=[0.85, 0.15])),
        inset=float(rng.uniform(0.0, 0.04)),
        box=(float(rng.uniform(0.6, 0.72)), float(rng.uniform(0.58, 0.7)))
        if has_box
        else (0.0, 0.0),
        text=has_box or bool(rng.random() < 0.3),
    )


def _lumen(rng: np.random.Generator) -> tuple[float, float]:
    """Sample the position of the lumen: in most scenes inside the image, else outside."""
    angle = rng.uniform(0, 2 * np.pi)
    distance = rng.uniform(0.1, 0.75) if rng.random() < 0.6 else rng.uniform(1.2, 1.9)
    return float(distance * np.cos(angle)), float(distance * np.sin(angle))


def _polyps(
    rng: np.random.Generator, frame: Frame, mucosa: Colour, count: int
) -> tuple[Polyp, ...]:
    """Sample visible polyps; two of them do not overlap and differ in colour and position."""
    # Rejection sampling: colour or position alone must identify each of two polyps.
    while True:
        polyps = tuple(_polyp(rng, mucosa, alone=count == 1) for _ in range(count))
        masks = [polyp.outline.level(_SKETCH) < 1 for polyp in polyps]
        shown = [mask & frame.visible(_SKETCH) for mask in masks]
        if any(
            part.sum() < _LEAST_VISIBLE * mask.sum()
            for part, mask in zip(shown, masks, strict=True)
        ):
            continue
        named = tuple(
            replace(polyp, words=replace(polyp.words, size=size_word(part), place=place_word(part)))
            for polyp, part in zip(polyps, shown, strict=True)
        )
        if count == 1 or (_differ(*named) and not (masks[0] & masks[1]).any()):
            return named


def _differ(one: Polyp, other: Polyp) -> bool:
    return one.words.colour != other.words.colour and one.words.place != other.words.place


def _polyp(rng: np.random.Generator, mucosa: Colour, alone: bool) -> Polyp:
    shape = str(rng.choice(SHAPES, p=[0.5, 0.3, 0.2]))
    largest = LARGE * 2.0 if alone else LARGE * 0.7
    # Uniform in the logarithm: most real polyps cover a small part of the image.
    area = np.exp(rng.uniform(np.log(SMALL / 4), np.log(largest)))
    x, y = rng.uniform(-0.85, 0.85, 2)
    outline = Outline(
        x=float(x),
        y=float(y),
        radius=float(np.sqrt(4 * area / np.pi)),  # the image has an area of 4
        aspect=float(rng.uniform(1.4, 1.9) if shape == "oval" else rng.uniform(1.0, 1.18)),
        angle=float(rng.uniform(0, np.pi)),
        waves=_waves(rng, shape),
    )
    own = float(rng.uniform(*_OWN_COLOUR)) if alone else 1.0
    drawn = POLYP_COLOURS[str(rng.choice(list(POLYP_COLOURS)))]
    # A geometric mean, because colours follow from absorptions, which add up in the exponent.
    base = np.array(mucosa) ** (1 - own) * np.array(drawn) ** own
    red, green, blue = base * np.exp(0.05 * rng.standard_normal(3))
    albedo = float(red), float(green), float(blue)
    # A polyp of the mucosa's colour needs more relief, or no one could outline it.
    height = float(rng.uniform(0.55 if own < _CAMOUFLAGED else 0.35, 0.95))
    words = Attributes("polyp", "", shape, nearest_colour(albedo), "")
    return Polyp(outline, albedo, height, words)


def _waves(rng: np.random.Generator, shape: str) -> tuple[complex, ...]:
    """Sample the waves of an outline; a lobed one has a strong wave of two or three lobes."""
    if shape != "lobed":
        return random_waves(rng, 0.045)
    lobes = [0j] * int(rng.integers(0, 2)) + [complex(0.22 * np.exp(2j * np.pi * rng.random()))]
    small = random_waves(rng, 0.05)
    return tuple(
        a + b for a, b in zip(small, lobes + [0j] * (len(small) - len(lobes)), strict=True)
    )


def nearest_colour(albedo: Colour) -> str:
    """Word in ``POLYP_COLOURS`` whose colour is closest in lightness and colour ratios."""

    def distance(word: str) -> float:
        return float(np.linalg.norm(_tone(POLYP_COLOURS[word]) - _tone(albedo)))

    return min(POLYP_COLOURS, key=distance)


def _tone(albedo: Colour) -> NDArray[np.float64]:
    red, green, blue = albedo
    # Ratios do not depend on the light; blue is weak in mucosa and gets less weight.
    return np.log([red, green / red, blue / red]) * (1, 1, 0.5)
