"""Networks in TorchScript files, written by ``torch.jit.save`` (``.ts``, ``.pt``)."""

import re
import warnings
import zipfile
from pathlib import Path

import torch

from palpate.models.exported.network import Exported, FromFile, as_model, reading_of
from palpate.models.exported.probe import Input, probed
from palpate.models.request import Request
from palpate.models.wrap.advice import told
from palpate.models.wrap.wrap import Wrapped

_SUFFIXES = (".ts", ".pt", ".pth", ".torchscript", ".jit")
# Operators of TorchScript that read or write files. All others compute.
_FILES = re.compile(rb"\btorch\.(from_file|save)\b|\baten::(from_file|save)\b|\bops\.(?!prim\b)\w+")


def is_torchscript(place: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not place.is_file() or place.suffix not in _SUFFIXES or not zipfile.is_zipfile(place):
        return False
    with zipfile.ZipFile(place) as archive:
        inside = {name.partition("/")[2] for name in archive.namelist()}
    return "constants.pkl" in inside and any(name.startswith("code/") for name in inside)


def load_torchscript(request: Request) -> Wrapped:
    """Load a TorchScript network; options are the arguments of :func:`palpate.wrap`.

    TorchScript has no access to Python, but operators that read and write files. Files with such
    operators are refused unless the request trusts them.

    Raises:
        ValueError: If the file is damaged, or accesses files.
    """
    return as_model(request, read_torchscript(request.folder, trust_code=request.trust_code))


def read_torchscript(path: Path, *, trust_code: bool) -> FromFile:
    """Read a TorchScript network, and find out what input it accepts."""
    if not trust_code:
        _refuse_files(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as a whole
            script = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as TorchScript: {told(error)}. Write it again with "
            "torch.jit.save, with the PyTorch at hand."
        ) from error
    _to_evaluation(script)
    net = Exported(script, path)
    options = probed(net, Input())
    return FromFile(net, {**options, **_reading(script)}, f"TorchScript file {path.name}")


def _to_evaluation(script: torch.jit.ScriptModule) -> None:
    try:
        script.eval()
        script.float()
    except (RuntimeError, AttributeError):  # a frozen module has neither mode nor parameters
        return


def _reading(script: torch.jit.ScriptModule) -> dict[str, str]:
    try:
        outputs = list(script.inlined_graph.outputs())
    except (RuntimeError, AttributeError):
        return {}
    return reading_of(outputs[0].node().kind()) if len(outputs) == 1 else {}


def _refuse_files(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        code = [n for n in archive.namelist() if "/code/" in n and n.endswith(".py")]
        found = {m.group().decode() for n in code for m in _FILES.finditer(archive.read(n))}
    if found:
        raise ValueError(
            f"{path} calls {', '.join(sorted(found))}, which may read or write files of yours. If "
            "you trust it, add --trust-code (in Python: trust_code=True; in a recipe: "
            "model.trust_code: true)."
        )
