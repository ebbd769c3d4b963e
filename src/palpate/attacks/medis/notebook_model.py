"""The model as the notebooks of MedIS see it: all its maps, and images resized plainly.

The notebooks attack images of their own size. Inside the graph they resize them to the network's
input, bilinearly and without antialiasing, and enlarge each of the network's maps to the size of
the mask. A model of palpate resizes with antialiasing and returns its last map.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from torch.nn import functional as F

from palpate.prompting import wants_boxes
from palpate.types import Images, LogitsFn, Maps


@runtime_checkable
class Resizing(Protocol):
    """A model that resizes images to the input of its network, and has side maps or none.

    Attributes:
        sides: Whether ``side_maps`` returns more than the last map.
    """

    sides: bool

    def input_size(self, height: int, width: int) -> int | tuple[int, int]: ...

    def side_maps(self, images: Images, prompts: Sequence[str] | None = None) -> Maps: ...


@dataclass(frozen=True)
class NotebookModel:
    """A model with the resizing of the notebooks.

    Attributes:
        model: The model.
        all_maps: Whether to return its side maps as well.
    """

    model: Any
    all_maps: bool

    def __call__(self, images: Images, prompts: Sequence[str] | None = None) -> Maps:
        """Logits of the maps ``(b, maps, h, w)`` at the size of the images; the last one last."""
        size = images.shape[2], images.shape[3]
        side = self.model.input_size(*size)
        inputs = _resized(images, (side, side) if isinstance(side, int) else side)
        maps = self.model.side_maps if self.all_maps and self.model.sides else self.model
        return _resized(maps(inputs, prompts), size)


def as_in_notebooks(model: LogitsFn, *, all_maps: bool = True) -> LogitsFn:
    """Replace the resizing of a model by that of the notebooks.

    Args:
        model: The model, or a ``partial`` or a dataclass that holds it as ``model``. Any other
            function and models that are prompted with boxes are returned as they are.
        all_maps: Whether to return side maps as well, which only the losses of the notebooks use.
    """
    if wants_boxes(model):
        return model
    if isinstance(model, Resizing):
        return NotebookModel(model, all_maps)
    if isinstance(model, partial):
        inner: Callable[..., Any] = as_in_notebooks(model.func, all_maps=all_maps)
        return partial(inner, *model.args, **model.keywords)
    inside = getattr(model, "model", None)
    if is_dataclass(model) and not isinstance(model, type) and callable(inside):
        changed: Any = replace(model, model=as_in_notebooks(inside, all_maps=all_maps))
        return changed
    return model


def _resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(values.shape[2:]) == size:
        return values
    return F.interpolate(values, size, mode="bilinear", align_corners=False)
