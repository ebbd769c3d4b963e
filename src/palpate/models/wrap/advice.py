"""Advice on a network that fails: the change of its input with which it does not fail.

Instead of guessing from the error, the network is called on one image with other channels, another
order of the axes or another size, until a call succeeds.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.models.facts import BROKEN
from palpate.models.preprocessing import next_multiple
from palpate.user_code import said

_MULTIPLES = (2, 4, 8, 16, 32, 64, 14)
_SIDES = (64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 448, 512)  # common input sizes
_LARGEST = 1024  # pixels; larger inputs are not tried, since each try costs a forward pass

_MISSING = re.compile(
    r"missing (?:\d+|a) required (?:positional|keyword-only) argument|missing value for argument"
    r"|Missing required keyword|Required inputs \(.*\) are missing"
)
# What tensors say if they are used like a dictionary, and dictionaries if a name is missing.
_NAMED = re.compile(
    r"too many indices for tensor|only integers, slices|indices must be integers|invalid index"
    r"|'Tensor' object has no attribute '(?:keys|items|values|get)'"
)
_CALL = (
    "Give call=..., a function that calls the network: "
    "`def call(net, images): return net({})`; in options, call: file.py:call."
)


def told(error: Exception) -> str:
    """An error as text, with the line that raised it; of a TorchScript trace the last line."""
    text = said(error)
    message = str(error).strip()
    if "\n" not in message:
        return text
    last = message.split("\n")[-1] if "TorchScript" in message else message.split("\n")[0]
    return text.replace(str(error), last.strip())


def advice(
    error: Exception,
    net: nn.Module,
    points: Tensor,
    *texts: list[str],
    call: Callable[..., Any] | None = None,
) -> str:
    """What to change, in one or two sentences.

    Args:
        error: The error that the network raised.
        net: The network.
        points: The input on which it fails, ``(b, c, h, w)`` or ``(b, h, w, c)``.
        texts: The texts that it was called with, if any.
        call: The user's function that called it, if there is one.
    """
    if call is not None:
        return "It was called by the function given as call; see the line above."
    others = {p.dtype for p in net.parameters() if p.is_floating_point()} - {points.dtype}
    if others:
        return (
            f"Its weights are {', '.join(sorted(map(str, others)))} and its input is "
            f"{points.dtype}: call .float() on it."
        )
    if _MISSING.search(str(error)):
        inputs = "images, ..." if texts else "images, second_input"
        return f"The network reads more than {_input(texts)}. {_CALL.format(inputs)}"
    with _evaluating(net):
        found = _first_that_works(net, points, *texts)
    if found:
        return found
    if _NAMED.search(str(error)) or isinstance(error, KeyError):
        named = _CALL.format('{"image": images}')
        return f"If the network reads a dictionary: {named}"
    return (
        "It fails for other sizes, channels and orders of the axes as well. If the network needs "
        "a larger or a fixed input size, set input_size; if it is called in another way, set call."
    )


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode, so that the calls change no statistics; then the modes as they were."""
    modes = [(part, part.training) for part in net.modules()]
    for part, _ in modes:
        part.training = False
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _input(texts: tuple[list[str], ...]) -> str:
    return "images and prompts" if texts else "images"


def _first_that_works(net: nn.Module, points: Tensor, *texts: list[str]) -> str:
    """Describe the smallest change with which the network accepts the first image."""
    one = points[:1].detach()
    words = [text[:1] for text in texts]
    if len(points) > 1 and _accepts(net, one, *words):
        return "It accepts one image: set batch=1, to call it for each image."
    changes = sorted(
        product(_orders(one), (0, *_MULTIPLES), (0, *_SIDES)),
        key=lambda change: (change[0][1] != "", change[2] > 0, change[1] > 0),
    )
    for (made, named), multiple, side in changes:
        if multiple and side:
            continue
        resized = _resized(made, named, multiple, side)
        if resized is not None and _accepts(net, resized, *words):
            sized = f"multiple={multiple}" * bool(multiple) + f"input_size={side}" * bool(side)
            settings = " and ".join(filter(None, (named, sized)))
            return f"It accepts {_shape(resized)}: set {settings}."
    return ""


def _orders(one: Tensor) -> Iterator[tuple[Tensor, str]]:
    """The image in other channels and orders of the axes, each with the setting that makes it."""
    last = one.shape[1] > 3 >= one.shape[3]
    image = one.permute(0, 3, 1, 2) if last else one
    grey, rgb = image.mean(1, keepdim=True), image.expand(-1, 3, -1, -1)
    others = [(grey, "channels=1")] if image.shape[1] == 3 else [(rgb, "channels=3")]
    yield one, ""
    for made, named in others:
        yield (made.permute(0, 2, 3, 1) if last else made), named
    for made, named in [(image, ""), *others]:
        order, name = (made, "nchw") if last else (made.permute(0, 2, 3, 1), "nhwc")
        yield order, " and ".join(filter(None, (named, f"layout='{name}'")))


def _resized(image: Tensor, named: str, multiple: int, side: int) -> Tensor | None:
    """The image at another size; None if that is the size it has, or larger than what is tried."""
    last = image.shape[3] <= 3 < image.shape[1]
    rows, columns = image.shape[1:3] if last else image.shape[2:4]
    sides = (side, side) if side else (rows, columns)
    if multiple:
        sides = next_multiple(rows, multiple), next_multiple(columns, multiple)
    if max(sides) > _LARGEST or (sides == (rows, columns) and not named):
        return None
    planes = image.permute(0, 3, 1, 2) if last else image
    made = F.interpolate(planes, sides, mode="bilinear")
    return made.permute(0, 2, 3, 1) if last else made


def _accepts(net: nn.Module, points: Tensor, *texts: list[str]) -> bool:
    try:
        with torch.no_grad():
            net(points, *texts)
    except BROKEN:
        return False
    return True


def _shape(points: Tensor) -> str:
    return "an input of shape (b, " + ", ".join(map(str, points.shape[1:])) + ")"
