"""What a set of rows was made of, and the refusal to mix it with anything else.

A fingerprint is a flat mapping of names to text: the hash of the weights, the hash of the data,
the protocol, every setting that changes a number. Two sets of rows belong together when their
fingerprints agree on every name that they share. Names that begin with ``attack.`` may be missing
on one side, so that an attack can be added to rows that exist; so may those that begin with
``model.``, of which not every model has something to say.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, fields, is_dataclass
from functools import partial
from hashlib import blake2b
from types import FunctionType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from palpate.code import is_installed, source_of
from palpate.data.sample import Case

Fingerprint: TypeAlias = Mapping[str, str]

_MAY_LACK = ("attack.", "model.")
_TRAITS = ("preprocessing", "reading", "multiple")  # of a model, and in none of its tensors
_PER_ROW = (
    "epsilon",
    "max_epsilon",
    "generator",
    "threshold",
)  # columns of the row, or a setting of their own


def differences(ours: Fingerprint, theirs: Fingerprint) -> dict[str, tuple[str, str]]:
    """What keeps two sets of rows apart, by name: the value here and the value there.

    >>> differences({"weights": "a", "attack.pgd": "pgd()"}, {"weights": "b"})
    {'weights': ('a', 'b')}
    """
    names = sorted(ours.keys() | theirs.keys())
    pairs = {name: (ours.get(name, "absent"), theirs.get(name, "absent")) for name in names}
    return {
        name: pair
        for name, pair in pairs.items()
        if pair[0] != pair[1] and not (name.startswith(_MAY_LACK) and "absent" in pair)
    }


def describe_differences(differing: Mapping[str, tuple[str, str]]) -> str:
    """One line for a reader: ``weights (a here, b there), protocol (…)``."""
    return ", ".join(f"{name} ({a} here, {b} there)" for name, (a, b) in differing.items())


def hash_weights(model: object) -> str:
    """Hash of every parameter and buffer; of anything but a module only its name is known."""
    if not isinstance(model, nn.Module):
        return f"not a module: {describe(model)}"
    digest = blake2b(digest_size=16)
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if isinstance(tensor, Tensor):
            digest.update(_raw(tensor))
    return digest.hexdigest()


def describe_model(model: object) -> dict[str, str]:
    """What decides the answers of a model and is in none of its tensors, as far as it is known.

    That is how it prepares images and reads its output, and the source of modules and functions
    that no installed package has.
    """
    traits = {
        f"model.{name}": repr(getattr(model, name)) for name in _TRAITS if hasattr(model, name)
    }
    code = sorted({text for part in _parts(model) if (text := _code_of(part))})
    if code:
        traits["model.code"] = blake2b("\n".join(code).encode(), digest_size=16).hexdigest()
    return traits


def hash_data(data: object, cases: Iterable[Case]) -> str:
    """Hash of what is known about every sample, in order, and of the ``size`` images get.

    Pixels are not read: hash the files yourself where they may change under their names.
    """
    digest = blake2b(repr(getattr(data, "size", None)).encode(), digest_size=16)
    for case in cases:
        digest.update(json.dumps(astuple(case)).encode())
    return digest.hexdigest()


def describe(attack: object) -> str:
    """An attack or loss with all its settings, defaults included, the same in every process.

    Code that does not come with palpate is described by its source too, so that rows of an attack
    that has changed since are not mixed with new ones.

    >>> from palpate.attacks import fgsm
    >>> describe(partial(fgsm, norm="l2")).partition("norm")[2][:5]
    "='l2'"
    """
    function = attack.func if isinstance(attack, partial) else attack
    name = f"{_module(function)}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    settings = _settings(attack) if callable(attack) else {}
    values = [f"{k}={_value(v)}" for k, v in sorted(settings.items()) if k not in _PER_ROW]
    source = source_of(function if isinstance(function, FunctionType) else type(function))
    values += [f"source {source}"] if source else []
    return f"{name}({', '.join(values)})"


def _parts(model: object) -> list[object]:
    return list(model.modules()) if isinstance(model, nn.Module) else []


def _code_of(part: object) -> str | None:
    function = getattr(part, "function", None)  # of a module that stands for a function
    if isinstance(function, FunctionType | partial):
        return describe(function)
    kind = type(part)
    return None if is_installed(kind) else source_of(kind)


def _settings(function: Callable[..., Any]) -> dict[str, Any]:
    bound = dict(function.keywords) if isinstance(function, partial) else {}
    if is_dataclass(function) and not isinstance(function, type):
        bound |= {field.name: getattr(function, field.name) for field in fields(function)}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # callables written in C need not have a signature
        return bound
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return defaults | bound


def _value(value: object) -> str:
    if isinstance(value, nn.Module):
        return f"{type(value).__qualname__} {hash_weights(value)}"
    if callable(value) and not isinstance(value, type):
        return describe(value)
    if isinstance(value, Tensor):
        return f"tensor {blake2b(_raw(value), digest_size=8).hexdigest()}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    text = repr(value)  # an address in it would never be the same again
    return type(value).__qualname__ if " at 0x" in text else text


def _module(function: object) -> str:
    return getattr(function, "__module__", None) or type(function).__module__


def _raw(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes()
