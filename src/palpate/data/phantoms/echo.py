"""Scenes of echocardiographic phantoms: the left heart in an apical view."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from palpate.data.phantoms.canvas import Canvas, Field, Region, ramp

VIEWS = ("two-chamber", "four-chamber")
PHASES = ("diastole", "systole")
QUALITIES = ("good", "medium", "poor")
STRUCTURES = ("left ventricle", "myocardium", "left atrium")

_YOUNGEST, _OLDEST = 20, 90
# Systole relative to diastole: the cavity shrinks, the muscle thickens and the atrium fills.
_SYSTOLIC_LENGTH, _SYSTOLIC_WIDTH = 0.88, 0.72
_SYSTOLIC_WALL = 1.3
_SYSTOLIC_ATRIUM = 1.2

_BULLET = 2.4  # bluntness of the apex above which a ventricle is called bullet-shaped
_ROUND = 1.15  # ratio of the axes below which an atrium is called round

Coordinates: TypeAlias = tuple[Field, Field]


@dataclass(frozen=True)
class Sector:
    """The imaging sector (fan), with its apex at the top; lengths in half-sides of the image.

    Attributes:
        top: Vertical coordinate of the apex of the fan.
        half_angle: Half of the opening angle, in radians.
        depth: Radius of the fan.
    """

    top: float
    half_angle: float
    depth: float

    def shown(self, canvas: Canvas) -> Region:
        """Pixels inside the fan, (h, w)."""
        dx, dy = canvas.x, canvas.y - self.top
        return (np.abs(dx) < dy * float(np.tan(self.half_angle))) & (
            dx * dx + dy * dy < self.depth**2
        )


@dataclass(frozen=True)
class Heart:
    """Geometry of the left heart in an apical view; lengths in half-sides of the image.

    Attributes:
        valve_x: Horizontal coordinate of the centre of the mitral valve.
        valve_y: Vertical coordinate of the centre of the mitral valve.
        tilt: Angle of the long axis in radians; if positive, the apex leans to the left.
        length: Distance from the valve to the apex of the ventricular cavity.
        width: Largest width of the ventricular cavity.
        bend: Displacement of the long axis to the right at half its length.
        blunt: Exponent of the apex, from 2 (elliptical) to 3 (bullet-shaped).
        wall: Thickness of the myocardium.
        atrium_length: Distance from the valve to the roof of the atrium.
        atrium_width: Width of the atrium in its middle.
        lean: Horizontal drift of the atrium per unit of height.
        taper: Relative excess of the atrium's width at the valve over that in its middle.
    """

    valve_x: float
    valve_y: float
    tilt: float
    length: float
    width: float
    bend: float
    blunt: float
    wall: float
    atrium_length: float
    atrium_width: float
    lean: float
    taper: float

    def axes(self, x: Field, y: Field) -> Coordinates:
        """Coordinates of points in the frame of the heart.

        Args:
            x: Horizontal image coordinates.
            y: Vertical image coordinates.

        Returns:
            Distance from the valve towards the apex, and distance to the right of the long axis.
        """
        dx, dy = x - np.float32(self.valve_x), np.float32(self.valve_y) - y
        cosine, sine = float(np.cos(self.tilt)), float(np.sin(self.tilt))
        up, right = dy * cosine - dx * sine, dx * cosine + dy * sine
        along = np.clip(up / self.length, 0, 1)
        return up, right - self.bend * 4 * along * (1 - along)

    def ventricle(self, up: Field, right: Field) -> Field:
        """Approximate signed distance to the endocardium; negative inside the cavity."""
        return _bullet(up, right, self.length, self.width / 2, self.blunt)

    def muscle(self, up: Field, right: Field) -> Field:
        """Approximate signed distance to the epicardium; myocardium is this without the cavity."""
        apex = self.length + 0.8 * self.wall
        return _bullet(up, right, apex, self.width / 2 + self.wall, self.blunt)

    def atrium(self, up: Field, right: Field) -> Field:
        """Approximate signed distance to the wall of the left atrium; negative inside."""
        shift = 0.5 * self.atrium_length
        drift = self.lean * (up + shift)  # the atrium is rarely aligned with the ventricle
        across = 2 * (right - drift) / (self.atrium_width * (1 + self.taper * up / shift))
        level = np.sqrt(across**2 + np.abs((up + shift) / shift) ** 3 + np.float32(1e-6))
        distance: Field = (level - 1) * (self.atrium_width / 2)
        return np.maximum(distance, up)  # cut off at the valve plane, where the ventricle begins

    def shape_words(self) -> tuple[str, str, str]:
        """Shape words of ``STRUCTURES``, in their order."""
        ventricle = "bullet" if self.blunt > _BULLET else "oval"
        ratio = self.atrium_length / self.atrium_width
        return ventricle, "horseshoe", "round" if 1 / _ROUND < ratio < _ROUND else "oval"


@dataclass(frozen=True)
class HeartAttributes:
    """Attributes of a structure of the heart and of its recording, for prompts."""

    structure: str
    view: str
    phase: str
    sex: str
    age: int
    quality: str
    shape: str


@dataclass(frozen=True)
class EchoScene:
    """An apical view of a heart, with the metadata of its recording.

    Attributes:
        view: One of ``VIEWS``.
        phase: One of ``PHASES``.
        quality: One of ``QUALITIES``.
        sex: ``female`` or ``male``.
        age: Age in years, 20 to 90.
        sector: The imaging sector.
        heart: Geometry of the heart.
    """

    view: str
    phase: str
    quality: str
    sex: str
    age: int
    sector: Sector
    heart: Heart

    @property
    def asked(self) -> tuple[HeartAttributes, ...]:
        """Attributes of each structure, any of which a prompt can refer to."""
        shapes = self.heart.shape_words()
        return tuple(
            HeartAttributes(
                structure, self.view, self.phase, self.sex, self.age, self.quality, shape
            )
            for structure, shape in zip(STRUCTURES, shapes, strict=True)
        )

    def mask(self, number: int, canvas: Canvas) -> Region:
        """Mask of one of ``STRUCTURES`` inside the fan, (h, w)."""
        up, right = self.heart.axes(canvas.x, canvas.y)
        cavity = self.heart.ventricle(up, right) < 0
        muscle = (self.heart.muscle(up, right) < 0) & ~cavity
        region = (cavity, muscle, self.heart.atrium(up, right) < 0)[number]
        return region & self.sector.shown(canvas)


def random_echo(rng: np.random.Generator) -> EchoScene:
    """Sample a scene."""
    view, phase = VIEWS[int(rng.integers(2))], PHASES[int(rng.integers(2))]
    half_angle = float(rng.uniform(0.54, 0.63))
    return EchoScene(
        view=view,
        phase=phase,
        quality=str(rng.choice(QUALITIES, p=[0.45, 0.35, 0.2])),
        sex=("female", "male")[int(rng.integers(2))],
        age=int(rng.integers(_YOUNGEST, _OLDEST + 1)),
        sector=Sector(top=-1.0, half_angle=half_angle, depth=2.0),
        heart=_heart(rng, view, phase),
    )


def _heart(rng: np.random.Generator, view: str, phase: str) -> Heart:
    valve = rng.uniform(0.12, 0.38)
    # The length depends on the valve so that the apex stays inside the fan, which is narrow there.
    length, width = (1 + valve) * rng.uniform(0.68, 0.86), rng.uniform(0.42, 0.62)
    wall, atrium = rng.uniform(0.12, 0.18), rng.uniform(0.8, 1.15, 2) * (0.5, 0.48)
    if phase == "systole":
        length, width = length * _SYSTOLIC_LENGTH, width * _SYSTOLIC_WIDTH
        wall, atrium = wall * _SYSTOLIC_WALL, atrium * _SYSTOLIC_ATRIUM
    # In the four-chamber view the right heart takes up the left side of the image.
    x = rng.uniform(0.05, 0.22) if view == "four-chamber" else rng.uniform(-0.12, 0.12)
    lean = rng.uniform(0.02, 0.25) if view == "four-chamber" else rng.uniform(-0.08, 0.18)
    return Heart(
        valve_x=float(x),
        valve_y=float(valve),
        tilt=float(lean),
        length=float(length),
        width=float(width),
        bend=float(rng.uniform(-0.03, 0.06)),
        blunt=float(rng.uniform(2.0, 2.8)),
        wall=float(wall),
        atrium_length=float(atrium[0]),
        atrium_width=float(atrium[1]),
        lean=float(rng.uniform(-0.2, 0.2)),
        taper=float(rng.uniform(-0.1, 0.25)),
    )


def _bullet(up: Field, right: Field, length: float, half_width: float, blunt: float) -> Field:
    """Signed distance to a bullet: widest at a third of its length, slightly narrower at the valve.

    It is cut off at the valve plane (``up == 0``) and closed at the apex (``up == length``).
    """
    along = up / np.float32(length)
    dome = np.clip((along - 0.3) / 0.7, 0, None)
    neck = 1 - 0.14 * ramp(along, 0.3, 0.0)
    across = np.abs(right) / (np.float32(half_width) * neck)
    level = (across**2 + dome ** np.float32(blunt)) ** 0.5
    distance: Field = (level - 1) * np.float32(half_width)
    return np.maximum(distance, -up)
