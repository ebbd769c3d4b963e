"""The published panels with what they lacked: masks before and after, the change magnified."""

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from palpate.evaluation.examples import Example
from palpate.report.drawing import PAGE, new_figure, shorten
from palpate.report.labels import (
    AFTER,
    BEFORE,
    REFERENCE,
    attack_label,
    epsilon_label,
)
from palpate.report.strips import Strip, magnification, magnified, outline

MOST: Final = 5  # samples in one figure, as published
_GAP, _ABOVE, _BELOW = 0.04, 0.34, 0.3  # inches


def panel(title: str, attack: str, some: Sequence[Strip]) -> Figure:
    """Two lines per sample: images with outlines and DSC, and below what was added to them.

    Columns are the clean image and one per radius. The perturbation is magnified by one factor
    for the whole figure, so that radii can be compared; the figure says by which.
    """
    some = some[:MOST]
    factor = magnification(some)
    radii = sorted({(e.row.epsilon, e.row.norm) for s in some for e in s.attacked})
    figure, grid = _grid(2 * len(some), len(radii) + 1)
    for index, strip in enumerate(some):
        _draw_strip(grid[2 * index : 2 * index + 2], strip, radii, factor)
    for axis, label in zip(grid[0], ["clean", *(epsilon_label(*r) for r in radii)], strict=True):
        axis.set_title(label, loc="center", fontsize=8, pad=3)
    heading = f"{shorten(title, 50)}, {attack_label(attack)}"
    top = 1 - 0.05 / figure.get_figheight()
    figure.text(_GAP / PAGE, top, heading, va="top", fontsize=8.5, fontweight="bold")
    figure.legend(handles=_legend(factor), loc="lower left", ncols=4, borderaxespad=0.3)
    return figure


def score_label(example: Example) -> str:
    """The DSC, and how the prediction failed if it did: no outline is an answer too."""
    failure = "" if example.row.failure == "none" else f" {example.row.failure}"
    return f"{example.row.dsc:.2f}{failure}"


def _grid(lines: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Square axes placed by hand: the automatic layout takes seconds for dozens of images."""
    side = (PAGE - (columns + 1) * _GAP) / columns
    above = _GAP * (1.0 + 2.0 * (np.arange(lines) % 2 == 0))  # more air between samples
    tops = np.cumsum(side + above) - side
    height = float(_ABOVE + tops[-1] + side + _BELOW)
    figure = new_figure(PAGE, height)
    figure.set_layout_engine("none")
    grid = np.empty((lines, columns), dtype=object)
    for line, column in np.ndindex(lines, columns):
        left, bottom = _GAP + column * (side + _GAP), height - _ABOVE - tops[line] - side
        place = (left / PAGE, bottom / height, side / PAGE, side / height)
        grid[line, column] = figure.add_axes(place)
        grid[line, column].set_axis_off()
    return figure, grid


def _draw_strip(
    axes: np.ndarray, strip: Strip, radii: list[tuple[float, str]], factor: int
) -> None:
    _show(axes[0][0], strip.clean.image)
    _draw_outline(axes[0][0], strip.clean.mask, REFERENCE, linestyle=(0, (2, 1.5)))
    _draw_outline(axes[0][0], strip.clean.prediction, BEFORE)
    _write_score(axes[0][0], strip.clean)
    _write_prompt(axes[1][0], strip.clean)
    attacked = {(e.row.epsilon, e.row.norm): e for e in strip.attacked}
    for column, radius in enumerate(radii, start=1):
        example = attacked.get(radius)
        if example is None:
            continue
        _show(axes[0][column], example.image)
        _draw_outline(axes[0][column], strip.clean.prediction, BEFORE)
        _draw_outline(axes[0][column], example.prediction, AFTER)
        _write_score(axes[0][column], example)
        _show(axes[1][column], magnified(strip, example, factor))


def _show(axis: Axes, image: np.ndarray) -> None:
    height, width = image.shape[1:]
    # The corner of pixel (0, 0) is at (0, 0), as outlines have it.
    axis.imshow(np.moveaxis(image, 0, -1), extent=(0, width, height, 0), interpolation="nearest")


def _draw_outline(axis: Axes, mask: np.ndarray, colour: str, linestyle: Any = "-") -> None:
    for line in outline(mask):
        axis.plot(
            *line.T,
            color=colour,
            linewidth=1.1,
            linestyle=linestyle,
            path_effects=[withStroke(linewidth=2.2, foreground="#00000099")],
        )


def _write_score(axis: Axes, example: Example) -> None:
    axis.text(
        0.03,
        0.03,
        score_label(example),
        transform=axis.transAxes,
        color="white",
        fontsize=7.5,
        fontweight="bold",
        va="bottom",
        path_effects=[withStroke(linewidth=1.8, foreground="#000000cc")],
    )


def _write_prompt(axis: Axes, example: Example) -> None:
    lines = textwrap.wrap(f"“{shorten(example.row.prompt, 110)}”", 24)
    text = "\n".join([shorten(example.row.image_name, 24), *lines])
    axis.text(0.02, 0.97, text, transform=axis.transAxes, va="top", fontsize=6, linespacing=1.35)


def _legend(factor: int) -> list[Line2D]:
    stroke = [withStroke(linewidth=3, foreground="#000000")]
    return [
        Line2D([], [], color=BEFORE, label="answer to the clean image"),
        Line2D([], [], color=AFTER, label="answer under attack"),
        Line2D(
            [], [], color=REFERENCE, linestyle=(0, (2, 1.5)), label="truth", path_effects=stroke
        ),
        Line2D([], [], linestyle="none", label=f"number: DSC; below: change × {factor}"),
    ]
