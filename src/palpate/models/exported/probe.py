"""Find out what input a network from a file accepts, by calling it."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from palpate.models.facts import BROKEN
from palpate.models.wrap.calling import Layout, as_plain

_SIDES = (256, 224, 352, 384, 512, 320, 288, 448, 192, 128, 96, 64)
_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Input:
    """The input of a network; None stands for what is not known yet.

    Attributes:
        channels: Number of channels.
        layout: Order of the axes.
        size: Height and width in pixels, if they are fixed.
        batch: Number of images, if it is fixed.
        any_batch: Whether the number of images is known not to be fixed.
    """

    channels: int | None = None
    layout: Layout | None = None
    size: tuple[int, int] | None = None
    batch: int | None = None
    any_batch: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """What is known, as arguments of :func:`palpate.wrap`."""
        told: dict[str, Any] = {"channels": self.channels, "layout": self.layout}
        told["batch"] = self.batch
        if self.size is not None and self.size[0] == self.size[1]:
            told["input_size"] = self.size[0]
        return {key: value for key, value in told.items() if value is not None}


def probed(net: nn.Module, known: Input) -> dict[str, Any]:
    """Find what is not known about the input of a network, by calling it with random images.

    Args:
        net: The network, in evaluation mode.
        known: What its file says.

    Returns:
        Arguments of :func:`palpate.wrap`; only what is known if no call succeeds.
    """
    found = _first_that_works(net, known)
    if found is None:
        return known.options
    side = found.size or (_SIDES[0], _SIDES[0])
    count = found.batch or 1
    if known.size is None:
        multiple = _multiple(net, found, count)
        if multiple is not None:
            found = replace(found, size=None)
    else:
        multiple = None
    if known.batch is None and not known.any_batch and not _answers(net, found, 2, side):
        found = replace(found, batch=1)
    more: dict[str, Any] = {"multiple": multiple} if multiple is not None and multiple > 1 else {}
    return {**found.options, **more, **_of_output(net, found, count, side)}


def _first_that_works(net: nn.Module, known: Input) -> Input | None:
    for layout in ("nchw", "nhwc") if known.layout is None else (known.layout,):
        for channels in (3, 1) if known.channels is None else (known.channels,):
            for side in _SIDES if known.size is None else (0,):
                size = known.size or (side, side)
                tried = replace(known, channels=channels, layout=layout, size=size)
                if _answers(net, tried, known.batch or 1, size):
                    return tried
    return None


def _multiple(net: nn.Module, found: Input, count: int) -> int | None:
    """The smallest multiple that the sides must have; None if the size is fixed."""
    for multiple in _MULTIPLES:
        side = 128 + multiple  # a multiple of this number and of no larger power of two
        if _answers(net, found, count, (side, side)):
            return multiple
    return None


def _answers(net: nn.Module, found: Input, count: int, size: tuple[int, int]) -> bool:
    """Whether the network accepts so many images of this size, and answers for each of them."""
    try:
        with torch.no_grad():
            returned = as_plain(net(_points(found, count, size)))
    except BROKEN:
        return False
    maps = [value for value in _tensors(returned) if value.dim() in (3, 4)]
    return all(len(value) == count and _fits(value, size) for value in maps)


def _of_output(net: nn.Module, found: Input, count: int, size: tuple[int, int]) -> dict[str, Any]:
    """What the output says of itself: whole numbers are labels, and it may be coarser."""
    with torch.no_grad():
        value = net(_points(found, count, size))
    if not isinstance(value, Tensor):
        return {}
    labels = {} if value.is_floating_point() else {"out": "classes"}
    if value.dim() not in (3, 4) or _channels_last(value, size):
        return labels
    rows, columns = (side // given for side, given in zip(size, value.shape[-2:], strict=True))
    return {**labels, "stride": rows} if rows == columns and rows > 1 else labels


def _points(found: Input, count: int, size: tuple[int, int]) -> Tensor:
    assert found.channels is not None
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(count, found.channels, *size, generator=generator)
    return points.permute(0, 2, 3, 1) if found.layout == "nhwc" else points


def _tensors(returned: object) -> list[Tensor]:
    if isinstance(returned, Tensor):
        return [returned]
    if isinstance(returned, dict):
        returned = list(returned.values())
    return (
        [v for v in returned if isinstance(v, Tensor)] if isinstance(returned, list | tuple) else []
    )


def _fits(value: Tensor, size: tuple[int, int]) -> bool:
    """Whether an output has the input's proportions: sides that were cropped do not fit."""
    rows, columns = value.shape[1:3] if _channels_last(value, size) else value.shape[-2:]
    return rows > 0 and columns > 0 and size[0] % rows == 0 and size[1] % columns == 0


def _channels_last(value: Tensor, size: tuple[int, int]) -> bool:
    return value.dim() == 4 and tuple(value.shape[1:3]) == size
