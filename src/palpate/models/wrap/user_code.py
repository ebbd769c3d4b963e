"""Load models from a user's own code, ``package.module:factory`` or ``file.py:factory``."""

import copy
import inspect
from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import ModuleType
from typing import Any

from torch import nn

from palpate.models.pixel_model import PixelModel
from palpate.models.request import Request, portable
from palpate.models.wrap.wrap import Wrapped, wrap
from palpate.randomness import seeded
from palpate.user_code import load_code, said

OF_WRAP = inspect.signature(wrap).parameters.keys() - {"module", "name"}


def load_external(request: Request) -> PixelModel:
    """Call a user's function and wrap the model it returns; this runs the user's code.

    The function may return a :class:`PixelModel`, or a module or another callable, which is then
    wrapped with :func:`palpate.wrap`. Options that are arguments of ``wrap`` are passed to
    ``wrap``, all others to the function. ``seed`` seeds torch during the call.

    The name may also refer to a network itself. Each call then gets a copy, so that training one
    does not change the others. In a checkpoint, options that are paths are stored as text.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no such function, or it does not accept the options, raises an error
            or does not return a model.
    """
    request.refuse_adapter()
    request.refuse_tokenizer()
    module, factory = load_code(request.name, "a function that makes a model")
    with seeded(request.seed):
        made = _made(factory, _others(request.options), request.name)
        model = _as_model(_own(made, module), request)
    model.name = request.name
    if isinstance(model, Wrapped):
        model.options, model.origin = written(request.options), "code of your own"
        model.seed = request.seed
    model.requires_grad_(False)
    return model


def _as_model(made: object, request: Request) -> PixelModel:
    for_wrap = {k: v for k, v in request.options.items() if k in OF_WRAP}
    if isinstance(made, PixelModel):
        if for_wrap:
            raise ValueError(
                f"{request.name} makes a model that is wrapped already; leave out "
                f"{', '.join(for_wrap)}."
            )
        return made
    if not callable(made):
        raise ValueError(
            f"Expected {request.name} to make a module or another callable, got a "
            f"{type(made).__name__}."
        )
    return wrap(made, **for_wrap, name=request.name)


def _made(factory: Callable[..., Any], options: Mapping[str, Any], name: str) -> Any:
    """Call the function and return its result; a network is returned as it is."""
    if not isinstance(factory, nn.Module):
        return _call(factory, options, name)
    if options:
        raise ValueError(
            f"{name} is a network and no function that makes one, so it takes no options of its "
            f"own; leave out {', '.join(options)}."
        )
    return factory


def _own(made: Any, module: ModuleType) -> Any:
    """Copy the network if it is a global of the user's module, which must stay unchanged."""
    kept = isinstance(made, nn.Module) and any(value is made for value in vars(module).values())
    return copy.deepcopy(made) if kept else made


def _others(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k not in OF_WRAP}


def written(value: Any) -> Any:
    """Convert options to JSON values for a checkpoint's card; paths at any depth become text."""
    if isinstance(value, PurePath):
        return portable(str(value))
    if isinstance(value, Mapping):
        return {key: written(each) for key, each in value.items()}
    return [written(each) for each in value] if isinstance(value, list | tuple) else value


def _call(factory: Callable[..., Any], options: Mapping[str, Any], name: str) -> Any:
    signature = inspect.signature(factory)
    # Bind first, to tell wrong options from a TypeError inside the function.
    try:
        signature.bind(**options)
    except TypeError as error:
        missing, called = _missing(signature, options), name.rpartition(":")[2]
        if missing and options.keys() <= signature.parameters.keys():
            raise ValueError(
                f"Expected {name} to make a model without being told more, but it wants "
                f"{', '.join(missing)}. If these are options, give them (model.options); if "
                f"{called} is the model itself, name a function that returns it: "
                f"`def make(): return {called}`."
            ) from error
        raise ValueError(f"{name} does not take the options {dict(options)}: {error}.") from error
    try:
        return factory(**options)
    except Exception as error:
        raise ValueError(f"{name} makes no model: {said(error)}.") from error


def _missing(signature: inspect.Signature, options: Mapping[str, Any]) -> list[str]:
    """Names of required arguments that are missing from the options."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        key
        for key, parameter in signature.parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in variadic
        and key not in options
    ]
