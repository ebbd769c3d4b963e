"""What there is in a dermoscopic phantom: the scene, before any pixel is drawn."""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from palpate.data.phantoms.canvas import Canvas, Field, Region
from palpate.data.phantoms.outline import Outline, random_waves
from palpate.data.phantoms.words import LARGE, SMALL, Attributes, place_word, size_word

Colour: TypeAlias = tuple[float, float, float]

# How strongly the pigment of a lesion absorbs red, green and blue: melanin near the surface is
# brown or, where dense, black; deep melanin blue; blood red.
PIGMENTS: dict[str, Colour] = {
    "brown": (0.52, 1.00, 1.35),
    "black": (1.60, 1.95, 2.05),
    "red": (0.16, 0.95, 0.80),
    "tan": (0.18, 0.40, 0.68),
    "pink": (0.03, 0.34, 0.22),
    "blue": (1.00, 0.80, 0.48),
}
# Pairs of words that a reader would not mix up on the same skin.
_CONFUSABLE = ({"brown", "tan"}, {"brown", "black"}, {"red", "pink"}, {"black", "blue"})
_FREQUENCY = (0.50, 0.14, 0.10, 0.14, 0.07, 0.05)
SHAPES = ("round", "oval", "irregular")

# From light to dark, as skin types I to VI; the second is I in gray light.
_SKINS = np.array(
    [(0.95, 0.84, 0.80), (0.84, 0.77, 0.72), (0.90, 0.74, 0.68), (0.84, 0.68, 0.58),
     (0.72, 0.54, 0.43), (0.56, 0.38, 0.28), (0.40, 0.26, 0.19)]
)  # fmt: skip
_SKIN_FREQUENCY = (0.20, 0.20, 0.20, 0.16, 0.11, 0.08, 0.05)
_TWO = 0.25  # share of scenes with two lesions
_SKETCH = Canvas(64)  # fine enough to measure area and place
_GAP = 1.25  # level up to which the surroundings of two lesions must not meet
_INSIDE = 0.9  # part of a lesion that must be in the picture


@dataclass(frozen=True)
class Lesion:
    """A pigmented lesion and the words for it.

    Attributes:
        outline: Its course without the ragged border.
        ragged: Standard deviation of the border's raggedness, in radii.
        border_seed: Of the raggedness.
        softness: Width over which the pigment fades towards the border, in radii.
        pigment: Absorption of red, green and blue.
        network: How pronounced the pigment network is, 0 to 1.
        words: For all of these.
    """

    outline: Outline
    ragged: float
    border_seed: int
    softness: float
    pigment: Colour
    network: float
    words: Attributes

    def level(self, canvas: Canvas) -> Field:
        """0 in the centre, 1 on the ragged border."""
        rng = np.random.default_rng(self.border_seed)
        coarse = canvas.noise(rng, self.cells(2.0))
        fine = canvas.noise(rng, self.cells(6.0))
        level: Field = self.outline.level(canvas) + self.ragged * (coarse + 0.4 * fine)
        return level

    def cells(self, per_radius: float) -> int:
        """Lattice cells for a grain that goes with the size of the lesion."""
        return int(np.clip(2 * per_radius / self.outline.radius, 3, 70))


@dataclass(frozen=True)
class DermoscopyScene:
    """A patch of skin; ``tube`` is the radius of the dermoscope's field of view, 2 for all."""

    skin: Colour
    tube: float
    lesions: tuple[Lesion, ...]

    @property
    def asked(self) -> tuple[Attributes, ...]:
        """What the scene can be asked for."""
        return tuple(lesion.words for lesion in self.lesions)

    def mask(self, number: int, canvas: Canvas) -> Region:
        """One lesion as far as it is in the field of view; lesions do not touch."""
        return (self.lesions[number].level(canvas) < 1) & self.field_of_view(canvas)

    def field_of_view(self, canvas: Canvas) -> Region:
        """Inside the tube of the dermatoscope."""
        return canvas.x**2 + canvas.y**2 < self.tube**2


def random_dermoscopy(rng: np.random.Generator) -> DermoscopyScene:
    """Draw a scene."""
    skin = _skin(rng)
    tube = float(rng.uniform(1.0, 1.3)) if rng.random() < 0.3 else 2.0
    count = 2 if rng.random() < _TWO else 1
    shown = DermoscopyScene(skin, tube, ()).field_of_view(_SKETCH)
    while True:
        lesions = _lesions(rng, count)
        levels = [lesion.level(_SKETCH) for lesion in lesions]
        if count == 2 and bool((np.maximum(*levels) < _GAP).any()):
            continue
        masks = [(level < 1) & shown for level in levels]
        if not all(map(_is_in_picture, lesions, masks)):
            continue
        named = tuple(map(_named, lesions, masks))
        if len({lesion.words.place for lesion in named}) == count:
            return DermoscopyScene(skin, tube, named)


def _lesions(rng: np.random.Generator, count: int) -> list[Lesion]:
    """As many as wanted, in colours that cannot be confused."""
    while True:
        lesions = [_lesion(rng, count) for _ in range(count)]
        colours = {lesion.words.colour for lesion in lesions}
        if len(colours) == count and colours not in _CONFUSABLE:
            return lesions


def _is_in_picture(lesion: Lesion, mask: Region) -> bool:
    # The image covers 4 square half-sides.
    return bool(mask.mean() > _INSIDE * np.pi * lesion.outline.radius**2 / 4)


def _named(lesion: Lesion, mask: Region) -> Lesion:
    words = replace(lesion.words, size=size_word(mask), place=place_word(mask))
    return replace(lesion, words=words)


def _skin(rng: np.random.Generator) -> Colour:
    tone = _SKINS[rng.choice(len(_SKINS), p=_SKIN_FREQUENCY)]
    red, green, blue = tone * np.exp(rng.normal(0, [0.02, 0.03, 0.04]))
    return float(min(red, 0.97)), float(green), float(blue)


def _lesion(rng: np.random.Generator, count: int) -> Lesion:
    shape = str(rng.choice(SHAPES, p=[0.4, 0.35, 0.25]))
    least, largest = (SMALL * 0.6, LARGE * 2.2) if count == 1 else (SMALL / 3, LARGE * 0.6)
    # Uniform in the logarithm: most real lesions cover a small part of the image.
    area = np.exp(rng.uniform(np.log(least), np.log(largest)))
    spread = 0.28 if count == 1 else 0.75  # who photographs one lesion centres it
    x, y = np.clip(rng.normal(0, spread, 2), -0.8, 0.8).tolist()
    colour = str(rng.choice(list(PIGMENTS), p=_FREQUENCY))
    strength = float(np.exp(rng.normal(-0.2, 0.2)))
    red, green, blue = (float(part) * strength for part in PIGMENTS[colour])
    return Lesion(
        outline=Outline(
            x=x,
            y=y,
            radius=float(np.sqrt(4 * area / np.pi)),  # the image covers 4 square half-sides
            aspect=float(rng.uniform(1.4, 2.0) if shape == "oval" else rng.uniform(1.0, 1.2)),
            angle=float(rng.uniform(0, np.pi)),
            waves=random_waves(rng, 0.26 if shape == "irregular" else 0.05),
        ),
        ragged=float(rng.uniform(0.02, 0.05) + (0.05 if shape == "irregular" else 0)),
        border_seed=int(rng.integers(2**31)),
        softness=float(rng.uniform(0.12, 0.7)),
        pigment=(red, green, blue),
        network=float(rng.uniform(0, 1)),
        words=Attributes("skin lesion", "", shape, colour, ""),
    )
