"""Restricting a bound model to some images of a batch, for attacks that continue with those."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from palpate.types import Box, LogitsFn, Masks


@runtime_checkable
class Selectable(Protocol):
    """A model bound to a batch that can be restricted to some of its images.

    Implement it in wrappers that hold data per image. ``partial(model, prompts=[...])`` does not
    need it, see :func:`restrict`.
    """

    def for_images(self, rows: Sequence[int]) -> LogitsFn: ...


def restrict(model: LogitsFn, rows: Sequence[int], count: int) -> LogitsFn:
    """Restrict a model that is bound to a batch to some images of the batch.

    Prompts and boxes bound by ``partial(model, prompts=[one per image])`` are selected with the
    images. Any other callable is assumed to hold no data per image, unless it is
    :class:`Selectable`.

    Args:
        model: Model bound to the batch.
        rows: Positions of the images in the batch.
        count: Number of images in the batch.

    >>> model = partial(len, prompts=["polyp", "mole", "ventricle"])
    >>> restrict(model, [0, 2], 3).keywords
    {'prompts': ['polyp', 'ventricle']}
    """
    if isinstance(model, Selectable):
        return model.for_images(rows)
    if isinstance(model, partial):
        per_image = {
            name: [values[row] for row in rows]
            for name, values in model.keywords.items()
            if name in ("prompts", "boxes") and _is_per_image(values, count)
        }
        return partial(model, **per_image) if per_image else model
    return model


def _is_per_image(values: object, count: int) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and len(values) == count


def prompts_of(model: LogitsFn) -> Sequence[str] | None:
    """The prompts bound to a model, one per image; None if there are none.

    >>> prompts_of(partial(len, prompts=["polyp", "mole"]))
    ['polyp', 'mole']
    """
    if isinstance(model, partial):
        bound = model.keywords.get("prompts")
        return bound if bound is not None else prompts_of(model.func)
    prompts: Sequence[str] | None = getattr(model, "prompts", None)
    return prompts


def boxes_of(model: LogitsFn) -> Sequence[Box] | None:
    """The boxes bound to a model, one per image; None if there are none."""
    if isinstance(model, partial):
        bound = model.keywords.get("boxes")
        return bound if bound is not None else boxes_of(model.func)
    boxes: Sequence[Box] | None = getattr(model, "boxes", None)
    return boxes


def ignored_of(model: LogitsFn) -> Masks | None:
    """The pixels that a model was told to ignore, see :func:`palpate.prompting.without_ignored`."""
    ignored: Masks | None = getattr(model, "ignored", None)
    return ignored
