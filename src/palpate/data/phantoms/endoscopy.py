"""What there is in an endoscopic phantom: the scene, before any pixel is drawn."""

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
_NONE, _TWO = 0.04, 0.30  # share of scenes without polyp and with two
_OWN_COLOUR = (0.0, 0.8)  # how far a lone polyp's colour goes from the mucosa's to one of its own
_CAMOUFLAGED = 0.3  # nearer to the mucosa than this, relief alone shows a polyp
_SKETCH = Canvas(64)  # fine enough to measure area and place
_LEAST_VISIBLE = 0.75  # of a polyp; the rest may be behind the frame


@dataclass(frozen=True)
class Polyp:
    """A polyp and the words for it; ``height`` 0 is flat, 1 a hemisphere."""

    outline: Outline
    albedo: Colour
    height: float
    words: Attributes


@dataclass(frozen=True)
class Frame:
    """What the recorder lays over the picture; lengths in half-sides.

    Attributes:
        corner: Where the cut corners begin, as x + y; 2 leaves them uncut.
        inset: Width of the black margin.
        box: Width and height of the black box at the lower left, 0 for none.
        text: Whether patient data are written at the left.
    """

    corner: float
    inset: float
    box: tuple[float, float]
    text: bool

    def visible(self, canvas: Canvas) -> Region:
        """Where the tissue shows."""
        x, y = canvas.x, canvas.y
        edge = 1 - self.inset
        shown = (abs(x) < edge) & (abs(y) < edge) & (abs(x) + abs(y) < self.corner)
        return shown & ~((x < self.box[0] - 1) & (y > 1 - self.box[1]))


@dataclass(frozen=True)
class EndoscopyScene:
    """A view into the bowel; ``absent`` is what a scene without polyps is asked for."""

    mucosa: Colour
    lumen: tuple[float, float]
    frame: Frame
    polyps: tuple[Polyp, ...]
    absent: Polyp | None = None

    @property
    def asked(self) -> tuple[Attributes, ...]:
        """What the scene can be asked for."""
        polyps = self.polyps if self.absent is None else (self.absent,)
        return tuple(polyp.words for polyp in polyps)

    def mask(self, number: int, canvas: Canvas) -> Region:
        """Visible part of a polyp; where two overlap, of the nearer one, which is the last."""
        shown = self.frame.visible(canvas)
        if self.absent is not None:
            return np.zeros_like(shown)
        shown &= self.polyps[number].outline.level(canvas) < 1
        for nearer in self.polyps[number + 1 :]:
            shown &= nearer.outline.level(canvas) >= 1
        return shown


def random_endoscopy(rng: np.random.Generator) -> EndoscopyScene:
    """Draw a scene."""
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
    """Inside the picture in most scenes, or beyond its border where the wall is seen from near."""
    angle = rng.uniform(0, 2 * np.pi)
    distance = rng.uniform(0.1, 0.75) if rng.random() < 0.6 else rng.uniform(1.2, 1.9)
    return float(distance * np.cos(angle)), float(distance * np.sin(angle))


def _polyps(
    rng: np.random.Generator, frame: Frame, mucosa: Colour, count: int
) -> tuple[Polyp, ...]:
    """Polyps that show; two of them lie apart and differ in colour and place."""
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
        radius=float(np.sqrt(4 * area / np.pi)),  # the image covers 4 square half-sides
        aspect=float(rng.uniform(1.4, 1.9) if shape == "oval" else rng.uniform(1.0, 1.18)),
        angle=float(rng.uniform(0, np.pi)),
        waves=_waves(rng, shape),
    )
    own = float(rng.uniform(*_OWN_COLOUR)) if alone else 1.0
    drawn = POLYP_COLOURS[str(rng.choice(list(POLYP_COLOURS)))]
    base = np.array(mucosa) ** (1 - own) * np.array(drawn) ** own
    red, green, blue = base * np.exp(0.05 * rng.standard_normal(3))
    albedo = float(red), float(green), float(blue)
    # What neither colour nor relief tells from the mucosa no one could outline.
    height = float(rng.uniform(0.55 if own < _CAMOUFLAGED else 0.35, 0.95))
    words = Attributes("polyp", "", shape, nearest_colour(albedo), "")
    return Polyp(outline, albedo, height, words)


def _waves(rng: np.random.Generator, shape: str) -> tuple[complex, ...]:
    if shape != "lobed":
        return random_waves(rng, 0.045)
    lobes = [0j] * int(rng.integers(0, 2)) + [complex(0.22 * np.exp(2j * np.pi * rng.random()))]
    small = random_waves(rng, 0.05)
    return tuple(
        a + b for a, b in zip(small, lobes + [0j] * (len(small) - len(lobes)), strict=True)
    )


def nearest_colour(albedo: Colour) -> str:
    """The word whose colour has the closest hue, saturation and lightness."""

    def distance(word: str) -> float:
        return float(np.linalg.norm(_tone(POLYP_COLOURS[word]) - _tone(albedo)))

    return min(POLYP_COLOURS, key=distance)


def _tone(albedo: Colour) -> NDArray[np.float64]:
    red, green, blue = albedo
    # Ratios do not change with the light; blue is weak in mucosa and says less.
    return np.log([red, green / red, blue / red]) * (1, 1, 0.5)
