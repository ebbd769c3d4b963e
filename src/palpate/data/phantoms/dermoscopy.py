"""Scenes of dermoscopic phantoms: skin and lesions, before they are rendered."""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from palpate.data.phantoms.canvas import Canvas, Field, Region
from palpate.data.phantoms.outline import Outline, random_waves
from palpate.data.phantoms.words import LARGE, SMALL, Attributes, place_word, size_word

Colour: TypeAlias = tuple[float, float, float]

# Absorption of red, green and blue by the pigment of a lesion: melanin near the surface looks
# brown or, where dense, black; deep melanin looks blue; blood looks red.
PIGMENTS: dict[str, Colour] = {
    "brown": (0.52, 1.00, 1.35),
    "black": (1.60, 1.95, 2.05),
    "red": (0.16, 0.95, 0.80),
    "tan": (0.18, 0.40, 0.68),
    "pink": (0.03, 0.34, 0.22),
    "blue": (1.00, 0.80, 0.48),
}
# Colours that could be mixed up, so that a colour would not tell two lesions of a scene apart.
_CONFUSABLE = ({"brown", "tan"}, {"brown", "black"}, {"red", "pink"}, {"black", "blue"})
_FREQUENCY = (0.50, 0.14, 0.10, 0.14, 0.07, 0.05)
SHAPES = ("round", "oval", "irregular")

# Skin types I to VI from light to dark; the second row is type I in gray light.
_SKINS = np.array(
    [(0.95, 0.84, 0.80), (0.84, 0.77, 0.72), (0.90, 0.74, 0.68), (0.84, 0.68, 0.58),
     (0.72, 0.54, 0.43), (0.56, 0.38, 0.28), (0.40, 0.26, 0.19)]
)  # fmt: skip
_SKIN_FREQUENCY = (0.20, 0.20, 0.20, 0.16, 0.11, 0.08, 0.05)
_TWO = 0.25  # share of scenes with two lesions
_SKETCH = Canvas(64)  # fine enough to measure area and position
_GAP = 1.25  # level (1 is the border) up to which two lesions must not overlap
_INSIDE = 0.9  # least fraction of a lesion's area that is in the image


@dataclass(frozen=True)
class Lesion:
    """A pigmented lesion and its attributes in words.

    Attributes:
        outline: Outline without the irregularity of the border.
        ragged: Standard deviation of the irregularity of the border, in radii.
        border_seed: Seed of the irregularity.
        softness: Width over which the pigment fades towards the border, in radii.
        pigment: Absorption of red, green and blue.
        network: Strength of the pigment network, 0 to 1.
        words: Attributes for prompts.
    """

    outline: Outline
    ragged: float
    border_seed: int
    softness: float
    pigment: Colour
    network: float
    words: Attributes

    def level(self, canvas: Canvas) -> Field:
        """Distance from the centre relative to the irregular border (1), (h, w)."""
        # A generator of its own: the border is the same in the mask and in the image.
        rng = np.random.default_rng(self.border_seed)
        coarse = canvas.noise(rng, self.cells(2.0))
        fine = canvas.noise(rng, self.cells(6.0))
        level: Field = self.outline.level(canvas) + self.ragged * (coarse + 0.4 * fine)
        return level

    def cells(self, per_radius: float) -> int:
        """Number of lattice cells for noise whose scale is proportional to the lesion."""
        return int(np.clip(2 * per_radius / self.outline.radius, 3, 70))


@dataclass(frozen=True)
class DermoscopyScene:
    """A patch of skin with one or two lesions.

    Attributes:
        skin: Red, green and blue reflectance of the skin, in [0, 1].
        tube: Radius of the circular field of view, in half-sides; 2 shows the whole image.
        lesions: Lesions, which do not touch each other.
    """

    skin: Colour
    tube: float
    lesions: tuple[Lesion, ...]

    @property
    def asked(self) -> tuple[Attributes, ...]:
        """Attributes of each lesion, any of which a prompt can refer to."""
        return tuple(lesion.words for lesion in self.lesions)

    def mask(self, number: int, canvas: Canvas) -> Region:
        """Mask of a lesion inside the field of view, (h, w)."""
        return (self.lesions[number].level(canvas) < 1) & self.field_of_view(canvas)

    def field_of_view(self, canvas: Canvas) -> Region:
        """Pixels inside the tube of the dermatoscope, (h, w)."""
        return canvas.x**2 + canvas.y**2 < self.tube**2


def random_dermoscopy(rng: np.random.Generator) -> DermoscopyScene:
    """Sample a scene: lesions apart, inside the image, and different in colour and position."""
    skin = _skin(rng)
    tube = float(rng.uniform(1.0, 1.3)) if rng.random() < 0.3 else 2.0
    count = 2 if rng.random() < _TWO else 1
    shown = DermoscopyScene(skin, tube, ()).field_of_view(_SKETCH)
    # Rejection sampling; words for size and position come from the masks that are accepted.
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
    """Sample lesions whose colours cannot be confused."""
    while True:
        lesions = [_lesion(rng, count) for _ in range(count)]
        colours = {lesion.words.colour for lesion in lesions}
        if len(colours) == count and colours not in _CONFUSABLE:
            return lesions


def _is_in_picture(lesion: Lesion, mask: Region) -> bool:
    """Whether enough of a lesion is in the image."""
    # The image has an area of 4 square half-sides.
    return bool(mask.mean() > _INSIDE * np.pi * lesion.outline.radius**2 / 4)


def _named(lesion: Lesion, mask: Region) -> Lesion:
    """The lesion with words for size and position measured on its mask."""
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
    spread = 0.28 if count == 1 else 0.75  # a single lesion is usually centred
    x, y = np.clip(rng.normal(0, spread, 2), -0.8, 0.8).tolist()
    colour = str(rng.choice(list(PIGMENTS), p=_FREQUENCY))
    strength = float(np.exp(rng.normal(-0.2, 0.2)))
    red, green, blue = (float(part) * strength for part in PIGMENTS[colour])
    return Lesion(
        outline=Outline(
            x=x,
            y=y,
            radius=float(np.sqrt(4 * area / np.pi)),  # the image has an area of 4
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
