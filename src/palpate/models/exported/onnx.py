"""Networks in ONNX files, as PyTorch networks with a gradient where that is possible.

The graph is converted by onnx2fx. A converter may be wrong without an error, so the result is
compared with ONNX Runtime, and its gradient with finite differences of ONNX Runtime's answers. A
network that fails any of this is run by ONNX Runtime: without gradient, but with the right answers.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from palpate.models.exported.network import Exported, FromFile, as_model, reading_of
from palpate.models.exported.probe import Input, probed
from palpate.models.exported.program import declared
from palpate.models.request import Request
from palpate.models.wrap.wrap import Wrapped

_PACKAGES = ("onnx", "onnxruntime", "onnx2fx")
_DTYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64}  # of ONNX's TensorProto
_INPUTS = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(bool)": torch.bool,
}
_SIDE = 64  # pixels; side of the image for the comparison, if the file fixes none
# Tolerated difference of outputs, relative to the largest one.
_DIFFERENCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.float16: 2e-2}
_GRADIENT = 0.2  # tolerated relative difference of a slope: kinks of ReLUs lie within the step
_STEP = 3e-4  # length of the step of the finite difference, in pixel values (root mean square)


def is_onnx(place: Path) -> bool:
    """Whether a file is called as ONNX files are."""
    return place.is_file() and place.suffix.lower() == ".onnx"


def load_onnx(request: Request) -> Wrapped:
    """Load an ONNX network; options are the arguments of :func:`palpate.wrap`.

    Raises:
        ValueError: If a package is missing, the file is damaged, or no operator set here has some
            of its operators; they are listed.
    """
    path = request.folder
    onnx, _, _ = (_package(name) for name in _PACKAGES)
    try:
        graph = onnx.load(str(path))
    except Exception as error:  # damaged files fail in many ways
        raise ValueError(
            f"{path} cannot be read as ONNX ({type(error).__name__}: {_line(error)}). If its "
            "weights are in a file of their own, both must lie in one folder."
        ) from error
    given = _inputs(graph)
    known, dtype = _input(given, path)
    size = known.size if known.size and known.size[0] != known.size[1] else None
    runtime = Runtime(path, dtype)
    module, why = _converted(graph, runtime, known, dtype)
    net = Exported(module, path, size, dtype)
    last = {node.output[0]: node.op_type for node in graph.graph.node if node.output}
    answers = graph.graph.output
    options = {**probed(net, known), **reading_of(last.get(answers[0].name, ""))}
    return as_model(request, FromFile(net, options, f"ONNX file {path.name}", why))


class Runtime(nn.Module):
    """A network that ONNX Runtime runs on the CPU; it has no gradient.

    Args:
        path: The ONNX file.
        dtype: Type of its input.

    Raises:
        ValueError: If ONNX Runtime does not accept the file.
    """

    def __init__(self, path: Path, dtype: torch.dtype) -> None:
        super().__init__()
        runtime = _package("onnxruntime")
        settings = runtime.SessionOptions()
        settings.log_severity_level = 4
        try:
            self.session = runtime.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no common class
            raise ValueError(
                f"{path} cannot be run: {_line(error)}. {_unknown_operators(path)}"
            ) from error
        self.names = [each.name for each in self.session.get_inputs()]
        self.answers = [each.name for each in self.session.get_outputs()]
        self.dtype = dtype

    def forward(self, *inputs: Tensor) -> Tensor | dict[str, Tensor]:
        """Run the network; several outputs are returned by name."""
        if len(inputs) != len(self.names):
            raise ValueError(
                f"Required inputs ({', '.join(self.names[len(inputs) :])}) are missing."
            )
        arrays = {n: v.detach().cpu().numpy() for n, v in zip(self.names, inputs, strict=True)}
        try:
            returned = self.session.run(None, arrays)
        except Exception as error:  # its errors have no common class
            raise ValueError(_line(error)) from error
        tensors = [torch.from_numpy(each).to(inputs[0].device) for each in returned]
        return _named(tensors, self.answers)

    def others(self, batch: int) -> list[Tensor]:
        """Ones for the inputs beside the images, of their shapes; free sides are the batch."""
        return [
            torch.ones(
                [side if isinstance(side, int) else batch for side in each.shape],
                dtype=_INPUTS[each.type],
            )
            for each in self.session.get_inputs()[1:]
        ]


class _Converted(nn.Module):
    """A converted graph that returns several outputs by name, as :class:`Runtime` does."""

    def __init__(self, graph: nn.Module, answers: Sequence[str]) -> None:
        super().__init__()
        self.graph, self.answers = graph, list(answers)

    def forward(self, *inputs: Tensor) -> Tensor | dict[str, Tensor]:
        returned = self.graph(*inputs)
        tensors = list(returned) if isinstance(returned, list | tuple) else [returned]
        return _named(tensors, self.answers)


def _named(tensors: list[Tensor], names: Sequence[str]) -> Tensor | dict[str, Tensor]:
    floating = [t.float() if t.is_floating_point() else t for t in tensors]
    return floating[0] if len(floating) == 1 else dict(zip(names, floating, strict=True))


def _inputs(graph: Any) -> dict[str, Any]:
    """Type and shape of each input; older files list the weights as inputs too."""
    weights = {each.name for each in graph.graph.initializer}
    found = {each.name: each.type.tensor_type for each in graph.graph.input}
    return {name: kind for name, kind in found.items() if name not in weights}


def _input(given: Mapping[str, Any], path: Path) -> tuple[Input, torch.dtype]:
    """Channels, size, batch and type of the images, as far as the file fixes them."""
    name, kind = next(iter(given.items()))
    if kind.elem_type not in _DTYPES:
        raise ValueError(
            f"Expected floating-point images as input {name!r} of {path}, got ONNX's element type "
            f"{kind.elem_type}. Export the network without the conversion of its input."
        )
    dtype = _DTYPES[kind.elem_type]
    sides = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None
             for d in kind.shape.dim]  # fmt: skip
    if len(sides) in (4, 5):
        return declared(sides), dtype
    return Input(), dtype


def _converted(
    graph: Any, runtime: Runtime, known: Input, dtype: torch.dtype
) -> tuple[nn.Module, str]:
    """The network with its gradient; or ONNX Runtime, and why there is no gradient."""
    converter = _package("onnx2fx")
    missing = sorted({op for op, _, _ in converter.analyze_model(graph).unsupported_ops})
    if missing:
        return runtime, f"PyTorch has no counterpart of its operators {', '.join(missing)}"
    try:
        _register_padding(converter)
        net = _Converted(converter.convert(graph), runtime.answers).eval()
        why = _deviation(net, runtime, known, dtype)
    except Exception as error:  # the converter raises many types of error
        why = f"it cannot be converted to PyTorch ({type(error).__name__}: {_line(error)})"
    return (runtime, why) if why else (net, "")


def _deviation(net: nn.Module, runtime: Runtime, known: Input, dtype: torch.dtype) -> str:
    """Where the converted network differs from ONNX Runtime; empty if nowhere."""
    points = _specimen(known, dtype)
    others = runtime.others(len(points))
    want, got = (_first(each(points, *others)) for each in (runtime, net))
    if got.shape != want.shape:
        return f"converted to PyTorch, it answers {tuple(got.shape)} instead of {tuple(want.shape)}"
    if not want.is_floating_point():
        return "its output is labels (ArgMax), not scores"
    largest = max(1.0, want.abs().max().item())
    if (gap := (got - want).abs().max().item()) > _DIFFERENCE[dtype] * largest:
        return f"converted to PyTorch, its answers differ by {gap:.3g} from those of ONNX Runtime"
    return _wrong_slope(net, runtime, points, *others) if dtype == torch.float32 else ""


def _wrong_slope(net: nn.Module, runtime: Runtime, points: Tensor, *others: Tensor) -> str:
    """Compare the gradient with a central difference of ONNX Runtime's answers, along itself."""
    points = points.clone().requires_grad_()
    with torch.enable_grad():
        answer = _first(net(points, *others))
        weights = torch.randn(answer.shape, generator=torch.Generator().manual_seed(1))
        if not answer.requires_grad:
            return "autograd cannot trace its output back to the pixels"
        (gradient,) = torch.autograd.grad((answer * weights).sum(), points)
    slope = gradient.norm().item()
    direction = gradient / max(slope, 1e-30)
    if slope == 0:  # a direction without gradient, in which the answer may change all the same
        direction = torch.ones_like(points) / points.numel() ** 0.5
    step = _STEP * points.numel() ** 0.5 * direction
    up, down = (
        _first(runtime(points.detach() + sign * step, *others)).double() for sign in (1, -1)
    )
    measured = ((up - down) * weights).sum().item() / (2 * step.norm().item())
    if abs(measured - slope) <= _GRADIENT * max(abs(slope), abs(measured)):
        return ""
    return f"its gradient is {slope:.3g} along a line where finite differences give {measured:.3g}"


def _specimen(known: Input, dtype: torch.dtype) -> Tensor:
    size = known.size or (_SIDE, _SIDE)
    shape = (known.batch or 1, known.channels or 3, *size)
    points = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return points.permute(0, 2, 3, 1) if known.layout == "nhwc" else points


def _first(returned: Tensor | dict[str, Tensor]) -> Tensor:
    return next(iter(returned.values())) if isinstance(returned, dict) else returned


def _register_padding(converter: Any) -> None:
    """Register the operator Pad: onnx2fx 0.0.1 refuses some edges and ignores ``axes``."""

    def pad(builder: Any, node: Any) -> Any:
        given = [builder.get_value(name) if name else None for name in node.input]
        mode = next((each.s.decode() for each in node.attribute if each.name == "mode"), "constant")
        return builder.call_function(_padded, args=(mode, *given))

    converter.register_op("Pad", pad, since_version=11)


def _padded(mode: str, x: Tensor, pads: Any, value: Any = None, axes: Any = None) -> Tensor:
    """ONNX's operator Pad; of other modes than constant only the last two axes of four."""
    sides = [int(side) for side in torch.as_tensor(pads).tolist()]
    named = range(x.dim()) if axes is None else torch.as_tensor(axes).tolist()
    around = [0] * (2 * x.dim())
    for place, axis in enumerate(named):
        last = 2 * (x.dim() - 1 - int(axis) % x.dim())
        around[last : last + 2] = sides[place], sides[place + len(sides) // 2]
    if mode == "constant":
        return nn.functional.pad(x, around, value=0.0 if value is None else float(value))
    kind = {"edge": "replicate", "reflect": "reflect", "wrap": "circular"}[mode]
    if any(around[4:]):
        raise NotImplementedError(f"Pad with mode {mode} of the first axes")
    return nn.functional.pad(x, around[:4], mode=kind)


def _unknown_operators(path: Path) -> str:
    """A sentence with the operators of a file that are not ONNX's own."""
    onnx = _package("onnx")
    graph = onnx.load(str(path), load_external_data=False)
    sets = {each.domain: each.version for each in graph.opset_import}
    unknown = sorted(
        {
            f"{node.domain or 'ai.onnx'}.{node.op_type}"
            for node in graph.graph.node
            if node.domain != "com.microsoft"
            and not onnx.defs.has(node.op_type, sets.get(node.domain, 1), node.domain)
        }
    )
    if not unknown:
        return "Export it again."
    return (
        f"Its operators {', '.join(unknown)} are not ONNX's own: export the network without them, "
        "or give it as file.py:function."
    )


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"ONNX files need the package {name}: install {', '.join(_PACKAGES)} with `pip install "
            f"{' '.join(_PACKAGES)}` ({error})."
        ) from error


def _line(error: Exception) -> str:
    return (str(error).strip().split("\n") or [""])[0][:200].rstrip(".")
