"""Binding a model to some of the images of a batch, for attacks that go on with those."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from palpate.types import LogitsFn


@runtime_checkable
class Selectable(Protocol):
    """A model bound to one batch that can be bound to some of its images.

    For wrappers that hold data per image. ``partial(model, prompts=[...])`` needs no such method,
    see :func:`restrict`.
    """

    def for_images(self, rows: Sequence[int]) -> LogitsFn: ...


def restrict(model: LogitsFn, rows: Sequence[int], count: int) -> LogitsFn:
    """The model for images ``rows`` of the ``count`` images that ``model`` is bound to.

    Prompts bound by ``partial(model, prompts=[one per image])`` are selected with the images. Any
    other callable is assumed to hold no data per image, unless it is :class:`Selectable`.

    >>> model = partial(len, prompts=["polyp", "mole", "ventricle"])
    >>> restrict(model, [0, 2], 3).keywords
    {'prompts': ['polyp', 'ventricle']}
    """
    if isinstance(model, Selectable):
        return model.for_images(rows)
    if isinstance(model, partial):
        prompts = model.keywords.get("prompts")
        if isinstance(prompts, Sequence) and not isinstance(prompts, str) and len(prompts) == count:
            return partial(model, prompts=[prompts[row] for row in rows])
    return model


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
