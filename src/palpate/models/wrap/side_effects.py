"""Call a user's network, check that the call leaves it unchanged, and explain its errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from palpate.models.facts import BROKEN
from palpate.models.wrap.advice import advice, told


def call_unchanged(
    net: nn.Module,
    name: str,
    pixels: Tensor,
    *texts: list[str],
    call: Callable[..., Any] | None = None,
) -> Any:
    """Call a network and return its output, of any type.

    Args:
        net: The network.
        name: Name of the network, for error messages.
        pixels: Normalised images ``(b, c, h, w)``, or ``(b, h, w, c)`` if the network wants that.
        texts: At most one list, with one text per image.
        call: A function of the user that is called as ``call(net, pixels, *texts)`` instead.

    Raises:
        RuntimeError: If the network raises a RuntimeError (as most PyTorch functions do), changes
            its mode or adds layers.
        FloatingPointError, torch.cuda.OutOfMemoryError: If the network raises one of these.
        ValueError: If the network raises one of the other errors in
            :data:`palpate.models.facts.BROKEN`.
    """
    with unchanged(net, name):
        try:
            return net(pixels, *texts) if call is None else call(net, pixels, *texts)
        except (FloatingPointError, torch.cuda.OutOfMemoryError):
            raise  # the message already names the cause
        except BROKEN as error:
            kind = RuntimeError if isinstance(error, RuntimeError) else ValueError
            last = pixels.shape[3] <= 3 < pixels.shape[1]
            rows, columns = pixels.shape[1:3] if last else pixels.shape[2:4]
            raise kind(
                f"{name} fails on an input of {rows} x {columns} pixels: {told(error)}. "
                f"{advice(error, net, pixels, *texts, call=call)}"
            ) from error


@contextmanager
def unchanged(net: nn.Module, name: str) -> Iterator[None]:
    """Raise an error if a network changes its mode or adds layers during a forward pass.

    The network is restored first, so that the next call fails in the same way.

    Args:
        net: The network that is called in the body of the ``with`` statement.
        name: Name of the network, for the message.

    Raises:
        RuntimeError: If the network changed.
    """
    before = [
        (where, part, part.training, dict(part.named_children()))
        for where, part in net.named_modules()
    ]
    try:
        yield
    finally:
        flipped = [where or "itself" for where, part, mode, _ in before if part.training != mode]
        made = [
            f"{where}.{key}".lstrip(".")
            for where, part, _, children in before
            for key, child in part.named_children()
            if children.get(key) is not child and _has_state(child)
        ]
        for _, part, mode, children in before:
            part.training = mode
            if made:
                _restore(part, children)
    if flipped:
        raise RuntimeError(
            f"Expected {name} to stay in its mode during a forward pass, got modules that went "
            f"from evaluation to training or back: {', '.join(flipped[:10])}. An attack "
            "would see a different model at every step."
        )
    if made:
        raise RuntimeError(
            f"Expected {name} to have all its layers before the first call, got new ones "
            f"from a forward pass: {', '.join(made[:10])}. Their weights would be in no optimiser "
            "and no checkpoint; make them in __init__, or call the network once before wrapping it."
        )


def _has_state(part: nn.Module) -> bool:
    """Whether a module has parameters or buffers."""
    return any(True for _ in part.parameters()) or any(True for _ in part.buffers())


def _restore(part: nn.Module, children: dict[str, nn.Module]) -> None:
    for key in [key for key, _ in part.named_children() if key not in children]:
        delattr(part, key)
    for key, child in children.items():
        setattr(part, key, child)
