"""Panels of examples: images with outlines under increasing radii, and magnified perturbations."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from palpate.evaluation.results.examples import Example
from palpate.reporting.figures.drawing import PAGE, new_figure, shorten
from palpate.reporting.figures.strips import Strip, magnification, magnified, outline
from palpate.reporting.labels import (
    AFTER,
    BEFORE,
    REFERENCE,
    attack_label,
    epsilon_label,
)

MOST: Final = 5  # samples in one figure, as published
_GAP, _ABOVE, _BELOW = 0.04, 0.4, 0.26  # inches
_SHADE: Final = [withStroke(linewidth=2.2, foreground="#00000099")]  # seen on any background
_HEADING: Final[dict[str, Any]] = {"fontsize": 8.5, "fontweight": "bold"}
_SCORE: Final[dict[str, Any]] = {
    "color": "white",
    "fontsize": 7.5,
    "fontweight": "bold",
    "path_effects": [withStroke(linewidth=1.8, foreground="#000000cc")],
}


def panel(title: str, attack: str, some: Sequence[Strip]) -> Figure:
    """Draw two rows per sample: images with outlines and DSC, and below their perturbations.

    Columns are the clean image and one per radius. The perturbation is magnified by one factor
    for the whole figure, so that radii can be compared; the figure says by which.
    """
    some = some[:MOST]
    factor = magnification(some)
    radii = sorted({(e.row.epsilon, e.row.norm) for s in some for e in s.attacked})
    side = (PAGE - (len(radii) + 2) * _GAP) / (len(radii) + 1)
    figure, axis = _sheet(_ABOVE + len(some) * (2 * (side + _GAP) + _GAP) + _BELOW)
    lefts = [_GAP + column * (side + _GAP) for column in range(len(radii) + 1)]
    for left, label in zip(lefts, ["clean", *(epsilon_label(*r) for r in radii)], strict=True):
        axis.text(left + side / 2, _ABOVE - 0.05, label, ha="center", fontsize=8)
    axis.text(_GAP, 0.16, f"{shorten(title, 50)}, {shorten(attack_label(attack))}", **_HEADING)
    for index, strip in enumerate(some):
        top = _ABOVE + index * (2 * (side + _GAP) + _GAP)
        cells = {r: _Cell(axis, left, top, side) for r, left in zip(radii, lefts[1:], strict=True)}
        _draw_clean(_Cell(axis, lefts[0], top, side), strip.clean)
        for example in strip.attacked:
            _draw_attacked(cells[example.row.epsilon, example.row.norm], strip, example, factor)
    figure.legend(handles=_legend(factor), loc="lower left", ncols=4, borderaxespad=0.3)
    return figure


def score_label(example: Example) -> str:
    """The DSC, and the failure mode if the prediction failed."""
    failure = "" if example.row.failure == "none" else f" {example.row.failure}"
    return f"{example.row.dsc:.2f}{failure}"


@dataclass(frozen=True)
class _Cell:
    """A square of the sheet; pixels of an image are fitted into it."""

    axis: Axes
    left: float
    top: float
    side: float

    def show(self, image: np.ndarray) -> None:
        width, height = self._scale(image.shape[1:]) * np.array(image.shape[:0:-1])
        extent = (self.left, self.left + width, self.top + height, self.top)
        self.axis.imshow(np.moveaxis(image, 0, -1), extent=extent, aspect="auto")

    def trace(self, mask: np.ndarray, colour: str, linestyle: Any = "-") -> None:
        for line in outline(mask):
            x, y = (line * self._scale(mask.shape) + (self.left, self.top)).T
            self.axis.plot(x, y, color=colour, lw=1.1, ls=linestyle, path_effects=_SHADE)

    def write(self, text: str, **style: Any) -> None:
        self.axis.text(self.left + 0.04, self.top + 0.04, text, va="top", **style)

    def below(self) -> "_Cell":
        return replace(self, top=self.top + self.side + _GAP)

    def _scale(self, shape: tuple[int, ...]) -> float:
        return self.side / max(shape)


def _sheet(height: float) -> tuple[Figure, Axes]:
    """Create one pair of axes in inches from the upper left; dozens of axes would take seconds."""
    figure = new_figure(PAGE, height)
    figure.set_layout_engine("none")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set_autoscale_on(False)
    axis.set(xlim=(0, PAGE), ylim=(height, 0))
    return figure, axis


def _draw_clean(cell: _Cell, example: Example) -> None:
    cell.show(example.image)
    cell.trace(example.prediction, BEFORE)
    cell.trace(example.mask, REFERENCE, linestyle=(0, (2, 1.5)))
    cell.write(score_label(example), **_SCORE)
    lines = textwrap.wrap(f"“{shorten(example.row.prompt, 110)}”", 24)
    text = "\n".join([shorten(example.row.image_name, 24), *lines])
    cell.below().write(text, fontsize=6, linespacing=1.35)


def _draw_attacked(cell: _Cell, strip: Strip, example: Example, factor: int) -> None:
    cell.show(example.image)
    cell.trace(strip.clean.prediction, BEFORE)
    cell.trace(example.prediction, AFTER)
    cell.write(score_label(example), **_SCORE)
    cell.below().show(magnified(strip, example, factor))


def _legend(factor: int) -> list[Line2D]:
    stroke = [withStroke(linewidth=3, foreground="#000000")]
    return [
        Line2D([], [], color=BEFORE, label="prediction, clean"),
        Line2D([], [], color=AFTER, label="prediction under attack"),
        Line2D(
            [],
            [],
            color=REFERENCE,
            linestyle=(0, (2, 1.5)),
            label="ground truth",
            path_effects=stroke,
        ),
        Line2D([], [], linestyle="none", label=f"number: DSC; below: perturbation × {factor}"),
    ]
