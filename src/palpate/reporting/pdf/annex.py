"""Prepares the page for WeasyPrint, which applies no style sheet of a page to its drawings."""

import re
from typing import Final

from palpate.reporting.labels import AFTER, BEFORE

_COLOURS: Final = {
    "--figure-ink": "#000", "--figure-grid": "#d5dae1", "--figure-held": "#c9ced6",
    "--line": "#cfd4da", "--fall": "#d2451a", "--hold": "#2a79c0", "--ink": "#000",
    "--before": BEFORE, "--after": AFTER,
}  # fmt: skip
_STYLES: Final = {
    "shot": (
        "use{fill:none;stroke-linejoin:round}"
        ".under{stroke:#000;stroke-opacity:.55;stroke-width:3.6px}"
        ".before{stroke:var(--before);stroke-width:1.9px}"
        ".after{stroke:var(--after);stroke-width:1.9px}"
        ".truth{stroke:#fff;stroke-width:1.6px;stroke-dasharray:5 4}"
    ),
    "dumbbell": (
        ".track{stroke:var(--line);stroke-width:3}"
        ".fall{stroke:var(--fall);stroke-width:3;opacity:.45}"
        "rect.clean{fill:var(--hold);opacity:.25} rect.attacked{fill:var(--fall);opacity:.28}"
        "circle.clean{fill:var(--hold)} circle.attacked{fill:var(--fall)}"
        ".noise{stroke:#000;stroke-width:1.3;fill:none}"
    ),
}
_STYLED: Final = re.compile(r'<svg class="(shot|dumbbell)"[^>]*>')
_DRAWING: Final = re.compile(r"<svg.*?</svg>", flags=re.DOTALL)


def with_drawn_styles(page: str) -> str:
    """The page with the styles of its drawings inside them, and colours instead of variables.

    >>> with_drawn_styles('<svg class="plot"><path stroke="var(--after)"/></svg>')
    '<svg class="plot"><path stroke="#ff5a1f"/></svg>'
    """
    styled = _STYLED.sub(lambda found: f"{found[0]}<style>{_STYLES[found[1]]}</style>", page)
    return _DRAWING.sub(lambda found: _coloured(found[0]), styled)


def _coloured(drawing: str) -> str:
    return re.sub(r"var\((--[\w-]+)\)", lambda found: _COLOURS.get(found[1], found[0]), drawing)
