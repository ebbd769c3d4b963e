"""Style of all figures, and writing of figures to files and as inline SVG."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from palpate.atomic import replacing
from palpate.reporting.labels import CONTROL, FAILURE_COLOURS, attack_label, colours, marks

Draw: TypeAlias = Callable[[Axes, pd.DataFrame], None]

COLUMN: Final = 3.4  # inches: one column of a two-column paper
PAGE: Final = 7.0  # inches: its full width
INK: Final = "#1b2430"
FAINT: Final = "#d5dae1"
PAGE_INKS: Final = {  # on the page these follow light and dark
    INK: "var(--figure-ink)",
    FAINT: "var(--figure-grid)",
    FAILURE_COLOURS["none"]: "var(--figure-held)",
}
_STYLE: Final[dict[str, Any]] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # travels with matplotlib, so figures look alike anywhere
    "font.size": 7.5,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.labelsize": 7.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.size": 2.5,
    "ytick.major.size": 0,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "figure.dpi": 100,
    "savefig.dpi": 200,  # twice the screen's
    "pdf.fonttype": 42,  # editors and journals want real fonts, not outlines
    "svg.fonttype": "path",
    "svg.hashsalt": "palpate",  # the same rows give the same file
}


@contextmanager
def house_style() -> Iterator[None]:
    """Apply palpate's matplotlib style inside the context; restore the old style afterwards."""
    with mpl.rc_context(cast(Any, _STYLE)):
        yield


def multiples(
    draw: Draw,
    parts: Sequence[tuple[str, pd.DataFrame]],
    *,
    height: float = 2.1,
    legend: Sequence[Any] = (),
    share_y: bool = True,
) -> Figure:
    """Draw one small chart per part, at most three in a row, with a common legend."""
    columns = min(3, len(parts))
    lines = -(-len(parts) // columns)
    width = COLUMN if columns == 1 else PAGE
    handles = list(legend)
    across = _legend_columns([str(handle.get_label()) for handle in handles], width)
    room = 0.14 + 0.18 * -(-len(handles) // across) if handles else 0.0
    figure = new_figure(width, height * lines + room)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=share_y)
    for index, axis in enumerate(grid.flat):
        if index >= len(parts):
            axis.set_visible(False)
            continue
        title, rows = parts[index]
        draw(axis, rows)
        axis.set_title(shorten(title))
        if share_y and index % columns:
            axis.set_ylabel("")
        if index + columns < len(parts):  # the chart below has the label
            axis.set_xlabel("")
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=across)
    return figure


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """Number of legend entries that fit side by side, at about fifteen characters per inch."""
    longest = max(map(len, labels), default=0) + 6  # the mark and some air
    return max(1, min(5, len(labels), int(15 * width) // longest))


def single(draw: Draw, rows: pd.DataFrame, *, height: float = 2.3) -> Figure:
    """Draw one chart without title and legend, which the page adds itself."""
    figure = new_figure(COLUMN, height)
    draw(figure.subplots(), rows)
    return figure


def new_figure(width: float, height: float) -> Figure:
    """A figure in inches that lays itself out, without touching matplotlib's global state."""
    layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05, wspace=0.06, hspace=0.06)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(
    figure: Figure, folder: Path, name: str, formats: Sequence[str] = ("png", "pdf", "svg")
) -> list[Path]:
    """Write a figure in each format; PNG has two pixels per point of the screen."""
    _settle(figure)
    paths = [folder / f"{name}.{suffix}" for suffix in formats]
    for path in paths:
        with replacing(path) as temporary:
            figure.savefig(
                temporary, format=path.suffix[1:], facecolor="white", metadata=_undated(path.suffix)
            )
    return paths


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` to put into a page, in the page's own text colour.

    Names inside are made unique with ``name``; the fixed inks become variables of the page, so
    that the picture follows light and dark.
    """
    _settle(figure)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata=_undated(".svg"))
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for ink, variable in PAGE_INKS.items():
        svg = svg.replace(ink, variable)
    return re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)


def attack_legend(attacks: list[str]) -> list[Any]:
    """One legend entry per attack, as the curves draw it."""
    hues, shapes = colours(attacks), marks(attacks)
    return [
        Line2D([], [], color=hues[a], marker=shapes[a], label=shorten(attack_label(a)), ls=_dash(a))
        for a in attacks
    ]


def shorten(text: str, length: int = 34) -> str:
    """Shorten long names, and escape characters that matplotlib would read as TeX.

    >>> shorten("a" * 40, 6)
    'aaaaa…'
    """
    text = " ".join(text.split())
    text = text if len(text) <= length else f"{text[: length - 1]}…"
    return text.replace("$", r"\$")


def slug(*parts: str) -> str:
    """Make a name for files and HTML elements; a short hash is added if characters are lost.

    >>> slug("panel", "kvasir", "pgd")
    'panel-kvasir-pgd'
    """
    name = "-".join(parts)
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
    if re.fullmatch(r"[a-z0-9 ·-]+", name):
        return plain
    return f"{plain}-{blake2b(name.encode(), digest_size=3).hexdigest()}"


def _dash(attack: str) -> str:
    return "--" if attack == CONTROL else "-"


def _settle(figure: Figure) -> None:
    """Compute the layout once; otherwise it would be computed again for every format."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _undated(suffix: str) -> dict[str, None]:
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})
