"""Models of the user's own: ``package.module:factory``, or ``file.py:factory``."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from palpate.code import load_code, said
from palpate.models.pixel_model import PixelModel
from palpate.models.request import Request
from palpate.models.wrapped import Wrapped, wrap

_OF_WRAP = inspect.signature(wrap).parameters.keys() - {"module", "name"}


def load_external(request: Request) -> PixelModel:
    """Whatever the user's function makes; importing it runs the user's code.

    The function gets the options, but for those of :func:`palpate.wrap`, and returns a
    :class:`PixelModel`, or a module or callable, which is wrapped with the latter. ``seed`` seeds
    torch while it is called.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the function is not there, refuses the options, or makes no model.
    """
    request.refuse_adapter()
    request.refuse_tokenizer()
    factory = load_code(request.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        model = _as_model(_call(factory, _others(request.options), request.name), request)
    model.name = request.name
    if isinstance(model, Wrapped):
        model.options, model.origin = dict(request.options), "code of your own"
        model.seed = request.seed
    model.requires_grad_(False)
    return model


def _as_model(made: object, request: Request) -> PixelModel:
    for_wrap = {k: v for k, v in request.options.items() if k in _OF_WRAP}
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


def _others(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k not in _OF_WRAP}


def _call(factory: Callable[..., Any], options: Mapping[str, Any], name: str) -> Any:
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise ValueError(f"{name} does not take the options {dict(options)}: {error}.") from error
    try:
        return factory(**options)
    except Exception as error:
        raise ValueError(f"{name} makes no model: {said(error)}.") from error
