"""Contact sheets: images with the outlines of their masks and their prompts, to inspect data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from textwrap import wrap
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from palpate.atomic import replacing
from palpate.reporting.figures.drawing import INK, house_style, shorten
from palpate.reporting.figures.strips import outline

# Visible on red mucosa, brown skin and grey ultrasound, and distinguishable by the colour-blind.
HUES: Final = ("#22e1ff", "#ffc61a", "#ff5fb0", "#7bea52", "#b79bff", "#ff8a3d")
_SIDE: Final = 1.72  # inches of the square that an image is fitted into
_GAP, _MARGIN, _HEAD = 0.16, 0.3, 0.4  # the head without notes
_NOTE: Final = 0.15
_LINE, _SIZE = 0.108, 6.2  # height of a line of text in inches, and its size in points
_LETTERS: Final = 36  # characters per line that fit below an image
_LINES: Final = 9  # maximum number of lines of text below an image
_DPI: Final = 170
_MUTED: Final = "#69737f"


@dataclass(frozen=True)
class Outlined:
    """One mask of an image: what it outlines, where, and the text that goes with it."""

    structure: str
    mask: Bool[np.ndarray, "h w"]
    prompt: str
    level: str


@dataclass(frozen=True)
class Tile:
    """An image of the sheet with all its masks."""

    name: str
    image: Float[np.ndarray, "3 h w"]
    masks: tuple[Outlined, ...]


def contact_sheet(
    tiles: Sequence[Tile], path: Path, *, title: str, notes: Sequence[str] = (), columns: int = 6
) -> Path:
    """Draw images with the outlines of their masks and the texts that go with them.

    Args:
        tiles: The images, at least one.
        path: Image file to write; see :func:`check_sheet`.
        title: Title of the sheet.
        notes: Lines below the title, at most two.
        columns: Images per row.

    Returns:
        The path.
    """
    columns = min(columns, len(tiles))
    structures = list(dict.fromkeys(m.structure for tile in tiles for m in tile.masks))
    hues = {name: HUES[number % len(HUES)] for number, name in enumerate(structures)}
    texts = [_lines(tile) for tile in tiles]
    rows = [
        range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)
    ]
    heights = [_SIDE + 0.06 + _LINE * max(len(texts[i]) for i in row) + _GAP for row in rows]
    width = max(2 * _MARGIN + columns * _SIDE + (columns - 1) * _GAP, 4.4)
    head = _HEAD + _NOTE * len(notes[:2])
    height = _MARGIN * 0.6 + head + sum(heights) + _MARGIN * 0.4
    with house_style():
        figure = Figure(figsize=(width, height), dpi=_DPI)
        _head(figure, title, notes, hues if len(hues) > 1 else {})
        top = height - _MARGIN * 0.6 - head
        for row, tall in zip(rows, heights, strict=True):
            for place, index in enumerate(row):
                left = _MARGIN + place * (_SIDE + _GAP)
                _draw(figure, tiles[index], texts[index], hues, (left, top))
            top -= tall
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=_DPI, facecolor="white")
    return path


def check_sheet(path: Path) -> None:
    """Check that a sheet can be written to a path, before anything is drawn.

    Raises:
        ValueError: If its extension is not that of an image format.
        FileNotFoundError: If its folder does not exist.
        IsADirectoryError: If it is a folder.
        PermissionError: If the file or its folder is not writable.
    """
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in known:
        raise ValueError(
            f"Expected the sheet to be a picture ({', '.join(known)}), got {path}. Call it "
            f"{path.with_suffix('.png').name}."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder for the sheet, but {path.parent} is not there.")
    if path.is_dir():
        raise IsADirectoryError(f"Expected a file for the sheet, but {path} is a folder.")
    try:
        if path.exists():
            path.open("r+b").close()
        else:
            TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise PermissionError(
            f"The sheet {path} cannot be written ({error.strerror}); choose another --out."
        ) from error


def _head(figure: Figure, title: str, notes: Sequence[str], hues: dict[str, str]) -> None:
    width, height = figure.get_size_inches()
    left, top = _MARGIN / width, 1 - _MARGIN * 0.6 / height
    figure.text(left, top, shorten(title, 120), size=12, weight="bold", color=INK, va="top")
    for number, note in enumerate(notes[:2]):
        down = (0.25 + _NOTE * number) / height
        figure.text(left, top - down, shorten(note, 190), size=7, color=_MUTED, va="top")
    right = 1 - left
    for name, hue in reversed(hues.items()):
        label = figure.text(
            right, top, f"■ {shorten(name)}", size=8, color=_dark(hue), va="top", ha="right"
        )
        right -= (label.get_window_extent().width / _DPI + 0.15) / width


def _draw(
    figure: Figure,
    tile: Tile,
    lines: list[tuple[str, str]],
    hues: dict[str, str],
    corner: tuple[float, float],
) -> None:
    """One image at the upper left ``corner`` in inches, and its texts beneath."""
    width, height = figure.get_size_inches()
    left, top = corner
    tall, wide = tile.image.shape[1:]
    axis = figure.add_axes((left / width, (top - _SIDE) / height, _SIDE / width, _SIDE / height))
    axis.set_axis_off()
    axis.set_aspect("equal")
    longest = max(tall, wide)
    axis.set_xlim((wide - longest) / 2, (wide + longest) / 2)
    axis.set_ylim((tall + longest) / 2, (tall - longest) / 2)
    axis.add_patch(
        Rectangle(
            ((wide - longest) / 2, (tall - longest) / 2),
            longest,
            longest,
            color="#f1f3f6",
            zorder=-1,
        )
    )
    axis.imshow(_shrunk(tile.image), extent=(0, wide, tall, 0), interpolation="lanczos")
    for one in sorted(tile.masks, key=_extent, reverse=True):  # draw inner masks on top
        _outline(axis, one.mask, hues[one.structure])
    for number, (text, structure) in enumerate(lines):
        axis.annotate(
            text,
            (0, 0),
            xytext=(left * 72, (top - _SIDE - 0.06 - number * _LINE) * 72),
            xycoords="figure points",
            textcoords="figure points",
            size=_SIZE if number else _SIZE - 0.6,
            color=_MUTED if not number else _dark(hues[structure]) if len(hues) > 1 else INK,
            va="top",
            annotation_clip=False,
        )


def _extent(one: Outlined) -> int:
    """Area of the bounding box of a mask, by which a ring is larger than what it surrounds."""
    down, across = (np.flatnonzero(one.mask.any(axis=axis)) for axis in (1, 0))
    return int(np.ptp(down) * np.ptp(across)) if down.size else 0


def _outline(axis: Axes, mask: Bool[np.ndarray, "h w"], hue: str) -> None:
    """Draw a bright line on a darker, wider one, so that it is visible on any background."""
    for line in outline(mask):
        axis.plot(
            line[:, 0], line[:, 1], color="black", alpha=0.55, lw=2.1, solid_joinstyle="round"
        )
        axis.plot(line[:, 0], line[:, 1], color=hue, lw=1.0, solid_joinstyle="round")


def _lines(tile: Tile) -> list[tuple[str, str]]:
    """Lines of text below an image: its name, then the text of each mask, cut to fit."""
    each = max(1, _LINES // max(1, len(tile.masks)))
    lines = [(shorten(tile.name, _LETTERS + 4), "")]
    for one in tile.masks:
        text = one.prompt or "no text"
        wrapped = wrap(f"{one.level}  {text}", _LETTERS)
        if len(wrapped) > each:
            wrapped = [*wrapped[: each - 1], f"{wrapped[each - 1].rpartition(' ')[0]} …"]
        suffix = "" if one.mask.any() else " (empty mask)"
        wrapped[-1] += suffix
        lines += [(line.replace("$", r"\$"), one.structure) for line in wrapped]
    return lines


def _shrunk(image: Float[np.ndarray, "3 h w"]) -> np.ndarray:
    """Downsample an image to the resolution at which it is shown."""
    pixels = np.moveaxis((image * 255).round().clip(0, 255).astype(np.uint8), 0, -1)
    picture = Image.fromarray(pixels)
    picture.thumbnail((round(_SIDE * _DPI),) * 2, Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _dark(hue: str) -> str:
    """Darken a colour so that text in it is legible on white."""
    channels = (int(hue[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(0.62 * channel):02x}" for channel in channels)
