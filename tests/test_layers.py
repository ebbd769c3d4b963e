"""Import rules between the packages of palpate, checked on the source without running it."""

import ast
from functools import cache
from pathlib import Path

import pytest

import palpate

STAGES = ("data", "models", "training", "attacks", "evaluation", "reporting")
SHARED = {
    "types", "atomic", "version", "geometry", "randomness", "overlap", "progress", "errors",
    "text", "structure_loss", "oom", "user_code", "config_io", "checks", "prompting", "plugins",
    "grey_levels", "located", "progress_bars",
}  # fmt: skip
TOP = {"cli", "pipeline", "__init__", "__main__"}
# Numbers and attacks must hold for any model on any data.
BLIND = {"attacks": {"data", "models", "training"}, "evaluation.metrics": {"data", "models"}}
# They do not load beside the CPU build of torch, or pull in what does not.
UNWANTED = {"torchvision", "timm", "segmentation_models_pytorch", "open_clip"}
NAMELESS = {"utils", "util", "helpers", "misc", "common"}


def violations(root):
    """List every violation of a rule under the package folder ``root``, one line each."""
    return [
        f"{path.relative_to(root)}: {problem}"
        for path in sorted(root.rglob("*.py"))
        for problem in problems_of(path, root)
    ]


def problems_of(path, root):
    parts = path.relative_to(root).with_suffix("").parts
    if NAMELESS & set(parts):
        yield f"is called {parts[-1]}; name the thing"
    for line, module in imports(parsed(path.read_text(encoding="utf-8")), parts):
        if module.split(".")[0] in UNWANTED:
            yield f"line {line} imports {module}"
        if module.startswith("palpate."):
            wrong = broken_rule(parts, module.split(".")[1:])
            if wrong:
                yield f"line {line} imports {module}: {wrong}"


@cache
def parsed(source):
    """The syntax tree of a source, which more than one rule reads."""
    return ast.parse(source)


def imports(tree, parts):
    """Absolute names of all imports, including those inside functions, with line numbers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = ["palpate", *parts][: -node.level]
                base = ".".join([*above, *([base] if base else [])])
            # ``from palpate import models`` names the package in what is imported.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def broken_rule(importer, imported):
    """Describe the rule that an import between two modules of palpate breaks; None if none."""
    ours, theirs = importer[0], imported[0]
    if ours in TOP or ours == theirs:
        return None
    if theirs not in {*STAGES, *SHARED, *TOP}:
        return f"{theirs} is neither a stage nor shared"
    if any(name.startswith("_") and not name.startswith("__") for name in imported):
        return "private to another package"
    for blind, unseen in BLIND.items():
        if ".".join(importer).startswith(blind) and theirs in unseen:
            return f"{blind} must not know {theirs}"
    if theirs in SHARED:
        return None
    if theirs in TOP:
        return f"{theirs} is above everything"
    if ours in SHARED:
        return f"{ours} is shared by all stages and imports none"
    if STAGES.index(theirs) > STAGES.index(ours):
        return f"{theirs} is right of {ours}"
    return None


def rooms(root):
    """For each stage, which rooms import which: a room is a folder, or a file beside the folders.

    The ``__init__.py`` of a stage is its front door: it may name all rooms, and no room may go
    through it.
    """
    graph = {}
    for stage in (*STAGES, "pipeline", "cli"):
        for path in (root / stage).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            for _, module in imports(parsed(path.read_text(encoding="utf-8")), parts):
                theirs = module.split(".")[1:]
                if theirs[:1] != [stage]:
                    continue
                ours, other = room_of(parts, root), room_of(theirs, root)
                if ours != other:
                    graph.setdefault(ours, set()).add(other)
    return graph


def room_of(parts, root):
    """``attacks.gradient`` for all that lies in that folder, ``attacks.paper`` for a file."""
    if len(parts) > 1 and ((root / parts[0] / parts[1]).is_dir() or is_file(parts, root)):
        return f"{parts[0]}.{parts[1]}"
    return f"{parts[0]}.__init__"  # a name that the front door exports


def is_file(parts, root):
    return (root / parts[0] / f"{parts[1]}.py").is_file()


def circle(graph):
    """One circle of imports as a list of rooms; None if there is none."""
    done, path = set(), []

    def visit(room):
        if room in path:
            return [*path[path.index(room) :], room]
        if room in done:
            return None
        path.append(room)
        found = next(filter(None, map(visit, sorted(graph.get(room, ())))), None)
        path.pop()
        done.add(room)
        return found

    return next(filter(None, map(visit, sorted(graph))), None)


def test_no_room_imports_in_a_circle():
    assert circle(rooms(Path(palpate.__file__).parent)) is None


def test_a_circle_of_rooms_is_found(package):
    package("attacks/core/step.py", "from palpate.attacks.gradient.pgd import pgd")
    package("attacks/__init__.py", "from palpate.attacks.gradient.pgd import pgd")
    root = package("attacks/gradient/pgd.py", "from palpate.geometry import norms")
    assert circle(rooms(root)) is None
    root = package("attacks/gradient/pgd.py", "from palpate.attacks.core.step import step")
    assert set(circle(rooms(root))) == {"attacks.core", "attacks.gradient"}


def test_a_room_that_goes_through_the_front_door_makes_a_circle(package):
    package("attacks/__init__.py", "from palpate.attacks.gradient.pgd import pgd")
    root = package("attacks/gradient/pgd.py", "from palpate.attacks import fgsm")
    assert "attacks.__init__" in circle(rooms(root))


def test_every_part_of_the_package_is_known():
    root = Path(palpate.__file__).parent
    found = {p.stem for p in root.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert found <= {*STAGES, *SHARED, *TOP}


def test_the_package_breaks_no_rule():
    assert violations(Path(palpate.__file__).parent) == []


@pytest.fixture
def package(tmp_path):
    """A package of one file each, with ``write(file, source)`` to change it."""
    root = tmp_path / "palpate"

    def write(file, source):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return root

    for stage in STAGES:
        write(f"{stage}/__init__.py", "")
    write("evaluation/metrics.py", "from palpate.overlap import count\n")
    write("types.py", "import torch\n")
    write("cli.py", "from palpate.reporting import page\nfrom palpate import pipeline\n")
    return write


def test_a_package_in_order_passes(package):
    package(
        "training/loop.py", "from palpate.models import VLSM\nfrom palpate.data.pool import pool"
    )
    package("attacks/pgd.py", "from palpate.geometry import norms\nfrom ._ascent import climb\n")
    package("evaluation/run.py", "import palpate.attacks\nfrom .metrics import dice\n")
    root = package("reporting/page.py", "from palpate import evaluation\nfrom .. import types\n")
    assert violations(root) == []


WRONG = {
    "to the right": ("models/net.py", "from palpate.training.loop import fit", "right of models"),
    "inside a function": ("data/x.py", "def f():\n    import palpate.models", "right of data"),
    "package by name": ("data/x.py", "from palpate import models", "models is right of data"),
    "relative": ("data/x.py", "from ..models import net", "models is right of data"),
    "relative package": ("models/x.py", "from .. import reporting", "reporting is right of models"),
    "type checking only": (
        "data/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from palpate.models import VLSM",
        "models is right of data",
    ),
    "attacks that know models": ("attacks/x.py", "import palpate.models", "must not know models"),
    "attacks that know data": ("attacks/x.py", "from palpate.data import Batch", "not know data"),
    "metrics that know data": (
        "evaluation/metrics.py",
        "from palpate.data import Batch",
        "must not know data",
    ),
    "shared that knows a stage": ("types.py", "from palpate.data import Batch", "shared by all"),
    "stage that knows the top": ("reporting/x.py", "import palpate.pipeline", "above everything"),
    "private module": ("evaluation/x.py", "from palpate.attacks._ascent import f", "private to"),
    "private name": ("evaluation/x.py", "from palpate.attacks import _ascent", "private to"),
    "unknown part": ("models/x.py", "from palpate.extras import f", "neither a stage nor shared"),
    "torchvision": ("models/x.py", "import torchvision.transforms as T", "imports torchvision"),
    "timm, lazily": ("cli.py", "def f():\n    from timm import create_model", "imports timm"),
    "smp": ("models/x.py", "import segmentation_models_pytorch", "imports segmentation_models"),
    "open_clip": ("models/x.py", "from open_clip import create_model", "imports open_clip"),
    "utils file": ("models/utils.py", "", "is called utils"),
    "utils folder": ("models/utils/x.py", "", "name the thing"),
}


@pytest.mark.parametrize(("file", "source", "message"), WRONG.values(), ids=WRONG)
def test_a_broken_rule_is_found(file, source, message, package):
    found = violations(package(file, source))
    assert len(found) == 1
    assert found[0].startswith(file)
    assert message in found[0]
