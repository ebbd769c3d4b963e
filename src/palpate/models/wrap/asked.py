"""To ask a foreign network: it must be the same one afterwards, and say what it fails on."""

from typing import Any

import torch
from torch import Tensor, nn

from palpate.models.facts import BROKEN
from palpate.models.wrap.side_effects import unchanged
from palpate.user_code import said


def asked(net: nn.Module, name: str, pixels: Tensor, *texts: list[str]) -> Any:
    """Whatever the network makes of normalised pixels, and of texts if it reads any.

    Args:
        net: The network.
        name: For messages.
        pixels: ``(b, c, h, w)``.
        texts: None, or one list with a text per image.

    Raises:
        ValueError: If it raises anything but the following.
        RuntimeError: If it raises one, as torch does, or changed its mode or made layers.
        FloatingPointError, torch.cuda.OutOfMemoryError: If it raises one.
    """
    with unchanged(net, name):
        try:
            return net(pixels, *texts)
        except (FloatingPointError, torch.cuda.OutOfMemoryError):
            raise
        except BROKEN as error:
            kind = RuntimeError if isinstance(error, RuntimeError) else ValueError
            raise kind(
                f"{name} fails on an input of {pixels.shape[2]} x {pixels.shape[3]} pixels: "
                f"{said(error)}. {_advice(net, pixels.dtype)}"
            ) from error


def _advice(net: nn.Module, dtype: torch.dtype) -> str:
    others = {p.dtype for p in net.parameters() if p.is_floating_point()} - {dtype}
    if others:
        return (
            f"Its weights are {', '.join(sorted(map(str, others)))} and its input is {dtype}: call "
            ".float() on it."
        )
    return "If that is too small for it, or not the one size that it takes, set another input_size."
