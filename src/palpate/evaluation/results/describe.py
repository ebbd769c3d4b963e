"""Describes attacks, losses, metrics and models with all their settings, for fingerprints."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from hashlib import blake2b
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palpate.attacks.bpda.bpda import Staged
from palpate.config_io import flat
from palpate.evaluation.metrics import METRICS, Metric, find_metrics
from palpate.user_code import is_installed, source_of, text_of

# Left out for the attack itself: these are columns of a row, or a fingerprint entry of their own.
# They are kept for an attack inside another one, where they are settings.
_PER_ROW = ("epsilon", "max_epsilon", "generator", "threshold")
_DEEPEST = 8  # depth limit, because objects may refer to each other in a circle


def describe(attack: object) -> str:
    """Describe an attack or loss with all its settings, identically in every process.

    Settings are the arguments with their defaults, the variables that a function closes over, the
    object of a bound method, and the attributes of a callable object. Code from outside palpate is
    also described by its source, so that rows of a changed attack are not mixed with new ones.

    >>> from palpate.attacks import fgsm
    >>> describe(partial(fgsm, norm="l2")).partition("norm")[2][:5]
    "='l2'"
    """
    return _callable(attack, without=_PER_ROW, depth=0)


def hash_weights(model: object) -> str:
    """Hash all tensors of the ``state_dict``; a model that is not a module is only described."""
    if not isinstance(model, nn.Module):
        return f"not a module: {describe(model)}"
    return _hash(model.state_dict().items())


def describe_model(model: object) -> dict[str, str]:
    """Describe what determines the output of a model besides its weights, as far as known.

    These are its traits (how it prepares images and reads its output), buffers that are not saved,
    and the source of modules and functions that are not from an installed package.
    """
    if not isinstance(model, nn.Module):
        return {}
    traits = getattr(model, "traits", {})
    told = flat(traits, "model.") if isinstance(traits, Mapping) else {}
    saved = model.state_dict().keys()
    parts = list(model.modules())
    code = {text for part in parts for text in _code_of(part)}
    code |= set(_sources({kind for part in parts for kind in type(part).__mro__}))
    return {name: str(value) for name, value in told.items()} | {
        "model.code": blake2b("\n".join(sorted(code)).encode(), digest_size=16).hexdigest(),
        "model.buffers": _hash((n, b) for n, b in model.named_buffers() if n not in saved),
    }


def describe_metrics(metrics: Sequence[Metric]) -> dict[str, str]:
    """Names of the metrics, and descriptions of those that are not palpate's own.

    The result is empty for the default metrics, so that it matches older rows, whose fingerprints
    have no entry for metrics.
    """
    if tuple(metrics) == find_metrics():
        return {}
    new = {f"metric.{m.name}": describe(m.function) for m in metrics if m.name not in METRICS.own}
    return {"metrics": ", ".join(metric.name for metric in metrics), **new}


def _callable(thing: object, *, without: tuple[str, ...] = (), depth: int) -> str:
    function = thing.func if isinstance(thing, partial) else thing
    if isinstance(function, MethodType):
        own: dict[str, object] = {"self": function.__self__}
        function = function.__func__
    else:
        own = _held(function)
    name = f"{_home(function)}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    settings = own | (_settings(thing) if callable(thing) else {})
    told = sorted((k, v) for k, v in settings.items() if k not in without)
    values = [f"{key}={_value(value, depth + 1)}" for key, value in told]
    source = source_of(function if isinstance(function, FunctionType) else type(function))
    values += [f"source {source}"] if source else []
    return f"{name}({', '.join(values)})"


def _held(function: Any) -> dict[str, object]:
    """The variables that a function closes over, or the attributes of a callable object."""
    if isinstance(function, FunctionType):
        if source_of(function) is None:
            # The decorators that check types of palpate's own functions are not settings.
            function = inspect.unwrap(function)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        return {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}
    if isinstance(function, nn.Module | type) or is_dataclass(function):
        return {}
    return dict(getattr(function, "__dict__", {}))


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty one raises
    except ValueError:
        return False
    return True


def _settings(thing: Callable[..., Any]) -> dict[str, Any]:
    bound: dict[str, Any] = {}
    if isinstance(thing, partial):
        bound = {f"{place}": value for place, value in enumerate(thing.args)} | thing.keywords
    if is_dataclass(thing) and not isinstance(thing, type):
        bound |= _fields(thing)
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):  # callables written in C need not have a signature
        return bound
    return {p.name: p.default for p in parameters if p.default is not p.empty} | bound


def _value(value: object, depth: int) -> str:
    if depth > _DEEPEST:
        return type(value).__qualname__
    if isinstance(value, nn.Module):
        told = {"weights": hash_weights(value), **describe_model(value)}
        digest = blake2b(repr(sorted(told.items())).encode(), digest_size=16).hexdigest()
        return f"{type(value).__qualname__} {digest}"
    if isinstance(value, Tensor):
        return f"tensor {blake2b(_raw(value), digest_size=8).hexdigest()}"
    if isinstance(value, np.ndarray):
        digest = blake2b(np.ascontiguousarray(value).tobytes(), digest_size=8).hexdigest()
        return f"array {value.dtype} {value.shape} {digest}"
    if callable(value) and not isinstance(value, type):
        return _callable(value, depth=depth)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(each, depth + 1) for each in value)}]"
    if isinstance(value, Mapping):
        items = sorted((str(key), _value(each, depth + 1)) for key, each in value.items())
        return f"{{{', '.join(f'{key}: {each}' for key, each in items)}}}"
    if is_dataclass(value) and not isinstance(value, type) and _tells_by_fields(value):
        return f"{type(value).__qualname__}{_value(_fields(value), depth)}"
    text = repr(value)  # a memory address in it would differ in every process
    return type(value).__qualname__ if " at 0x" in text else text


def _fields(thing: Any) -> dict[str, Any]:
    return {field.name: getattr(thing, field.name) for field in fields(thing)}


def _tells_by_fields(thing: Any) -> bool:
    """Whether ``repr`` is generated by the dataclass, and would abbreviate large tensors."""
    told: bool = type(thing).__dataclass_params__.repr
    return told


def _home(function: object) -> str:
    """The module of a function; only the top-level package for palpate, whose modules may move."""
    module: str = getattr(function, "__module__", None) or type(function).__module__
    return ".".join(module.split(".")[:2]) if module.startswith("palpate.") else module


def _code_of(part: object) -> Iterator[str]:
    """Code of the function that a module wraps, and of a stage whose ``repr`` is incomplete."""
    function = getattr(part, "function", None)
    if isinstance(function, FunctionType | partial):
        yield describe(function)
    # The weights include the repr of a stage; if that is incomplete, describe the stage as well.
    if isinstance(part, Staged) and text_of(part.stage) != repr(part.stage):
        yield describe(part.stage)


def _sources(kinds: Iterable[type]) -> Iterator[str]:
    """Hashes of the sources of classes that are not from an installed package."""
    for kind in kinds:
        if not is_installed(kind) and (source := source_of(kind)):
            yield source


def _hash(tensors: Iterable[tuple[str, Any]]) -> str:
    digest = blake2b(digest_size=16)
    for name, tensor in tensors:
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(_raw(tensor))
        else:  # extra state
            digest.update(f"{name} {type(tensor).__qualname__}".encode())
    return digest.hexdigest()


def _raw(tensor: Tensor) -> bytes:
    values = tensor.detach().cpu().contiguous().flatten()
    return values.view(torch.uint8).numpy().tobytes()
