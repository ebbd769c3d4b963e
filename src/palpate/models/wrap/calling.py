"""How a network is called: channels, order of the axes, batch size, or a function of the user."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from numbers import Integral
from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palpate.models.wrap.side_effects import call_unchanged
from palpate.types import Images
from palpate.user_code import load_code, source_of, text_of

Layout: TypeAlias = Literal["nchw", "nhwc"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

# Luma of ITU-R BT.601, which Pillow and OpenCV use too. It keeps a grey image as it is.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Calling:
    """Describes how a network is called.

    Attributes:
        channels: 3 for RGB, or 1 for a network that reads grey images.
        layout: Order of the axes of the network's input and output: ``"nchw"`` or ``"nhwc"``.
        batch: Number of images per call, if the network accepts no other; None for any number.
        call: Function that is called in place of the network, as ``call(net, pixels)``, or
            ``call(net, pixels, prompts)`` if the network reads text.
    """

    channels: int = 3
    layout: Layout = "nchw"
    batch: int | None = None
    call: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if self.channels not in (1, 3) or isinstance(self.channels, bool):
            raise ValueError(
                f"Expected channels 3 (RGB) or 1 (grey), got {self.channels!r}. For other input, "
                "make it of the RGB pixels in a function of your own: call=..."
            )
        if self.layout not in LAYOUTS:
            raise ValueError(
                f"Expected layout to be one of {', '.join(LAYOUTS)}, got {self.layout!r}."
            )
        if self.batch is not None and (not isinstance(self.batch, Integral) or self.batch < 1):
            raise ValueError(f"Expected a whole batch >= 1 or none, got {self.batch!r}.")
        if self.call is not None and not callable(self.call):
            raise ValueError(f"Expected call to be a function, got a {type(self.call).__name__}.")

    @property
    def told(self) -> dict[str, Any]:
        """The settings that differ from the defaults, as text or numbers."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {f.name: given[f.name] for f in fields(self) if given[f.name] != f.default}
        if self.call is not None:
            # The hash of its source, because another function may compute something else.
            changed["call"] = f"{text_of(self.call)} {source_of(self.call)}"
        return changed

    def of_channels(self, images: Images) -> Float[Tensor, "b channels h w"]:
        """Convert RGB images to the channels that the network reads."""
        if self.channels == 3 or images.shape[1] == 1:
            return images
        luma = torch.tensor(_LUMA, dtype=images.dtype, device=images.device)
        return (images * luma.view(1, 3, 1, 1)).sum(1, keepdim=True)

    def returned(self, net: nn.Module, name: str, pixels: Tensor, *texts: list[str]) -> object:
        """Call the network and return its output, of any type; tensors are in NCHW.

        Args:
            net: The network.
            name: Name of the network, for error messages.
            pixels: Normalised images ``(b, c, h, w)``.
            texts: At most one list, with one text per image.

        Raises:
            RuntimeError, ValueError, FloatingPointError: As
                :func:`palpate.models.wrap.side_effects.call_unchanged`.
        """
        points = pixels.permute(0, 2, 3, 1) if self.layout == "nhwc" else pixels
        if self.batch is None:
            made = call_unchanged(net, name, points, *texts, call=self.call)
        else:
            made = self._in_parts(net, name, points, *texts)
        return converted(made, _channels_second) if self.layout == "nhwc" else made

    def _in_parts(self, net: nn.Module, name: str, points: Tensor, *texts: list[str]) -> object:
        """Call the network on ``batch`` images at a time; the last call is filled up."""
        assert self.batch is not None
        made = []
        for start in range(0, len(points), self.batch):
            part = points[start : start + self.batch]
            words = [list(text[start : start + self.batch]) for text in texts]
            spare = self.batch - len(part)
            if spare:
                part = torch.cat([part, part[-1:].expand(spare, *part.shape[1:])])
                words = [word + word[-1:] * spare for word in words]
            returned = call_unchanged(net, name, part, *words, call=self.call)
            made.append(converted(returned, partial(_first, self.batch - spare)))
        return _joined(made)


def as_function(call: object) -> Callable[..., Any] | None:
    """The function of the option ``call``; text such as ``file.py:function`` is imported.

    Raises:
        FileNotFoundError, ValueError: If the text names no function.
    """
    if not isinstance(call, str):
        return call  # type: ignore[return-value]  # checked by Calling
    try:
        return load_code(call, "a function that calls the network")[1]  # type: ignore[no-any-return]
    except AssertionError:
        raise ValueError(
            f"Expected call as file.py:function or package.module:function, got {call!r}."
        ) from None


def as_plain(returned: object) -> object:
    """Convert the objects that networks return to a dictionary, list or tuple, where possible."""
    if is_dataclass(returned) and not isinstance(returned, Mapping | type):
        named = {f.name: getattr(returned, f.name) for f in fields(returned)}
        return {key: value for key, value in named.items() if value is not None}
    if isinstance(returned, tuple) and hasattr(returned, "_asdict"):
        return returned._asdict()
    return returned


def converted(returned: object, change: Callable[[Tensor], Tensor]) -> object:
    """Apply a function to every tensor of a network's output.

    Args:
        returned: The output, of any type.
        change: Function of a tensor.
    """
    returned = as_plain(returned)
    if isinstance(returned, Tensor):
        return change(returned)
    if isinstance(returned, Mapping):
        return {key: converted(value, change) for key, value in returned.items()}
    if isinstance(returned, list | tuple):
        return [converted(value, change) for value in returned]
    return returned


def _first(count: int, value: Tensor) -> Tensor:
    return value[:count] if value.dim() else value


def _channels_second(value: Tensor) -> Tensor:
    return value.permute(0, 3, 1, 2) if value.dim() == 4 else value


def _joined(parts: list[object]) -> object:
    """Join the outputs of several calls along the batch."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts) if first.dim() else first  # type: ignore[arg-type]
    if isinstance(first, Mapping):
        return {key: _joined([part[key] for part in parts]) for key in first}  # type: ignore[index]
    if isinstance(first, list):
        return [_joined([part[i] for part in parts]) for i in range(len(first))]  # type: ignore[index]
    return first
