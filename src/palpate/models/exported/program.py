"""Networks in archives of ``torch.export`` (``.pt2``)."""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from palpate.models.exported.network import Exported, FromFile, as_model, reading_of
from palpate.models.exported.probe import Input, probed
from palpate.models.request import Request
from palpate.models.wrap.advice import told
from palpate.models.wrap.wrap import Wrapped

# PyTorch evaluates these texts as Python: sizes such as `2*s0 + 1`, and
# `Symbol('s0', positive=True)`.
_SIZE = re.compile(r"[\w\s+\-*/%(),.<>=!&|~']{0,1000}")
_WORD = re.compile(r"\b[A-Za-z_]\w*")
_WORDS = {
    "Max", "Min", "Mod", "FloorDiv", "CeilDiv", "CleanDiv", "PythonMod", "ModularIndexing", "Eq",
    "Ne", "Gt", "Ge", "Lt", "Le", "And", "Or", "Not", "Pow", "PowByNatural", "Where", "True",
    "False", "true", "false", "oo", "int_oo", "ToFloat", "FloatTrueDiv", "IntTrueDiv", "TruncToInt",
    "FloorToInt", "CeilToInt", "RoundToInt", "Abs", "floor", "ceiling", "Identity", "Symbol",
    "Integer", "Rational", "Float", "Add", "Mul", "positive", "nonnegative", "negative", "integer",
    "real", "zero", "nonzero",
}  # fmt: skip
_SYMBOL = re.compile(r"[suz]f?\d+")


def is_program(place: Path) -> bool:
    """Whether a file is an archive of ``torch.export``."""
    if not place.is_file() or not zipfile.is_zipfile(place):
        return False
    with zipfile.ZipFile(place) as archive:
        inside = {name.partition("/")[2]: name for name in archive.namelist()}
        found = inside.get("archive_format")
        return found is not None and archive.read(found).strip() == b"pt2"


def load_program(request: Request) -> Wrapped:
    """Load a network of ``torch.export``; options are the arguments of :func:`palpate.wrap`.

    Archives with pickled objects, or with texts that PyTorch would evaluate and that are no sizes,
    are refused unless the request trusts them.

    Raises:
        ValueError: If the archive is damaged, or wants to run code.
    """
    path = request.folder
    if not request.trust_code:
        _refuse_code(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its sample inputs, which are not used
            program = torch.export.load(path)
    except Exception as error:  # damaged archives fail in many ways
        raise ValueError(
            f"{path} cannot be read as an archive of torch.export: {told(error)}. Write it again "
            "with the PyTorch at hand."
        ) from error
    known = _input(program, path)
    size = known.size if known.size and known.size[0] != known.size[1] else None
    net = Exported(_module(program), path, size)
    options = probed(net, known)
    origin = f"torch.export archive {path.name}"
    return as_model(request, FromFile(net, {**options, **_reading(program)}, origin))


def _module(program: torch.export.ExportedProgram) -> nn.Module:
    net: nn.Module = program.module()
    floating = {p.dtype for p in net.parameters() if p.is_floating_point()}
    return net.float() if floating - {torch.float32} else net


def _input(program: torch.export.ExportedProgram, path: Path) -> Input:
    """Channels, size and batch, as far as the archive fixes them."""
    given = set(program.graph_signature.user_inputs)
    shapes = [n.meta["val"].shape for n in program.graph.nodes if n.name in given]
    if len(shapes) != 1 or len(shapes[0]) not in (4, 5):
        warnings.warn(
            f"{path} has inputs of shape {', '.join(str(tuple(s)) for s in shapes)} instead of "
            "one batch of images; set call=..., a function that calls the network with them.",
            RuntimeWarning,
            stacklevel=2,
        )
        return Input()
    return declared([side if isinstance(side, int) else None for side in shapes[0]])


def declared(sides: list[int | None]) -> Input:
    """The input of a network, of the sides that its file fixes; None is any side.

    A last axis of 1 or 3 is the channels, unless the second one is.

    Raises:
        ValueError: If there are five sides, or other channels than 1 or 3.
    """
    if len(sides) == 5:
        raise ValueError(
            f"Expected a network for 2-D images, got one with an input of shape {tuple(sides)}; "
            "palpate evaluates slices."
        )
    last = sides[3] in (1, 3) and sides[1] not in (1, 3)
    batch, channels, rows, columns = [sides[i] for i in (0, 3, 1, 2)] if last else sides
    if channels not in (1, 3, None):
        raise ValueError(
            f"Expected a network that reads images of 1 or 3 channels, got one with an input of "
            f"shape {tuple(sides)}. Make its input of the RGB pixels in a function of your own, "
            "file.py:make, that returns a module."
        )
    size = (rows, columns) if rows is not None and columns is not None else None
    return Input(
        channels,
        "nhwc" if last else "nchw",
        size,
        batch=batch,
        any_batch=batch is None,
    )


def _reading(program: torch.export.ExportedProgram) -> dict[str, Any]:
    (output,) = [node for node in program.graph.nodes if node.op == "output"]
    answers = output.args[0]
    if len(answers) != 1 or not hasattr(answers[0], "target"):
        return {}
    return reading_of(getattr(answers[0].target, "__name__", "").partition(".")[0])


def _refuse_code(path: Path) -> None:
    """Refuse an archive that PyTorch would load by running code that is in it."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            inside = name.partition("/")[2]
            why = ""
            if inside.endswith(".json"):
                why = _code_in(json.loads(archive.read(name)))
            elif inside.startswith("data/sample_inputs/"):
                why = _pickled_code(archive.read(name))
            elif inside.startswith(("data/aotinductor/", "data/executorch/")):
                why = f"compiled code ({inside})"
            if why:
                raise ValueError(
                    f"{path} wants to run code: it has {why}. If you trust it, add --trust-code "
                    "(in Python: trust_code=True; in a recipe: model.trust_code: true)."
                )


def _code_in(values: Any) -> str:
    for key, value in _pairs(values):
        if key == "use_pickle" and value:
            return "pickled weights or constants"
        if key == "expr_str" and not _is_size(str(value)):
            return f"the expression {str(value)[:60]!r} where a size should be"
    return ""


def _is_size(text: str) -> bool:
    words = _WORD.findall(text)
    return _SIZE.fullmatch(text) is not None and all(
        word in _WORDS or _SYMBOL.fullmatch(word) for word in words
    )


def _pairs(values: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield key, value
            yield from _pairs(value)
    elif isinstance(values, list):
        for value in values:
            yield from _pairs(value)


def _pickled_code(content: bytes) -> str:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # PyTorch would then run it
        return "pickled objects that are no tensors"
    return ""
