"""Draw the stages of palpate and which imports which, for docs/architecture.md.

    python docs/scripts/make_architecture.py

Arrows and rooms are read off the source, so the picture shows the package as it is. It also
carries them in its description, by which a test finds out that it is out of date.
"""

import ast
from pathlib import Path

import matplotlib

matplotlib.use("svg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "palpate"
PICTURE = ROOT / "docs" / "figures" / "architecture.svg"
# In the order in which a sample passes them; a stage imports only from those to its left.
STAGES = ("data", "models", "training", "attacks", "evaluation", "reporting")
ABOVE = ("cli", "pipeline")
_WIDTH, _GAP, _HEIGHT = 1.56, 0.14, 2.7
_INK, _FILL, _ARROW = "#1b2430", "#eef2f6", "#0e5f80"


def edges() -> list[tuple[str, str]]:
    """Pairs of stages of which the first imports the second, also inside functions."""
    found = set()
    for stage in STAGES:
        for path in (PACKAGE / stage).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {(stage, other) for other in _imported(tree) if other in STAGES}
    return sorted((one, other) for one, other in found if one != other)


def _imported(tree: ast.AST) -> set[str]:
    """The parts of palpate that a module imports from."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = (name.split(".") for name in names)
    return {part[1] for part in parts if part[0] == "palpate" and len(part) > 1}


def rooms(stage: str) -> list[str]:
    """The folders of a stage; its modules where it has no folders."""
    folders = sorted(path.parent.name for path in (PACKAGE / stage).glob("*/__init__.py"))
    return folders or sorted(p.stem for p in (PACKAGE / stage).glob("[a-z]*.py"))


def shared() -> list[str]:
    """The modules beside the stages, which all stages may import."""
    found = sorted(path.stem for path in PACKAGE.glob("[a-z]*.py"))
    folders = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    return found + [name for name in folders if name not in (*STAGES, *ABOVE)]


def description() -> str:
    """What the picture shows, as text."""
    arrows = "; ".join(f"{one} imports {other}" for one, other in edges())
    contents = "; ".join(f"{stage}: {', '.join(rooms(stage))}" for stage in STAGES)
    return f"{arrows}. {contents}"


def draw() -> Figure:
    """The stages from left to right, with an arrow from each to those that it imports."""
    width = len(STAGES) * (_WIDTH + _GAP) + _GAP
    figure = Figure(figsize=(width, 5.2))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, 5.2))
    axis.set_axis_off()
    _box(axis, _GAP, 4.58, width - 2 * _GAP, 0.5)
    axis.text(
        width / 2, 4.83, "cli, pipeline: commands, recipes, run folders (use every stage)",
        ha="center", va="center", size=11, color=_INK,
    )  # fmt: skip
    for number, stage in enumerate(STAGES):
        left = _left(number)
        _box(axis, left, 0.95, _WIDTH, _HEIGHT)
        axis.text(
            left + _WIDTH / 2, 3.45, stage, ha="center", va="center", size=12.5, weight="bold",
            color=_INK,
        )  # fmt: skip
        listed = "\n".join(rooms(stage))
        axis.text(left + 0.12, 3.24, listed, va="top", size=9, color=_INK, linespacing=1.25)
    for one, other in edges():
        _arrow(axis, STAGES.index(one), STAGES.index(other))
    _box(axis, _GAP, 0.12, width - 2 * _GAP, 0.7)
    names = [name for name in shared() if not name.startswith("_")]
    half = -(-len(names) // 2)
    text = f"shared by all stages: {', '.join(names[:half])},\n{', '.join(names[half:])}"
    axis.text(width / 2, 0.47, text, ha="center", va="center", size=9.5, color=_INK)
    return figure


def _left(number: int) -> float:
    return _GAP + number * (_WIDTH + _GAP)


def _box(axis: Axes, left: float, bottom: float, width: float, height: float) -> None:
    style = "round,pad=0,rounding_size=0.08"
    axis.add_patch(
        FancyBboxPatch(
            (left, bottom), width, height, boxstyle=style, facecolor=_FILL, edgecolor=_INK, lw=0.8
        )
    )


def _arrow(axis: Axes, one: int, other: int) -> None:
    """An arc above the boxes, higher the farther apart they are."""
    middle = _WIDTH / 2
    distance = abs(one - other)
    # Ends spread over the upper side of a box, far ones outside, so that no two meet.
    spread = 0.11 * distance
    start = (_left(one) + middle - 0.1 - spread, 3.67)
    end = (_left(other) + middle + 0.1 + spread, 3.67)
    bend = 0.42 if distance == 1 else 0.30 if distance < 4 else 0.24
    axis.add_patch(
        FancyArrowPatch(
            start, end, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=11,
            color=_ARROW, lw=1.3, shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip


def main() -> None:
    """Write the picture."""
    # Text stays text, and nothing depends on the date: the same package gives the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "palpate"}):
        metadata = {"Date": None, "Description": description()}
        draw().savefig(PICTURE, metadata=metadata)
    print(PICTURE)


if __name__ == "__main__":
    main()
