"""Calling a model with prompts, and with boxes if it declares that it wants them.

Every call with prompts goes through :class:`Bound` or :func:`box_options`, so that a single place
decides which models are given the box of the true mask, and what an attack or a score sees of the
pixels that are ignored.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from palpate.types import Box, Images, Masks

# The logit of an ignored pixel: background whose loss is 1e-7 and has no gradient. It is not beyond
# 16.6, where a sigmoid in single precision is saturated.
_IGNORED = -16.0

NO_PROMPT = "none"  # level of data without prompts, for models that read none


def wants_boxes(model: object) -> bool:
    """Whether a model declares ``wants_boxes = True``.

    Looks inside wrappers that pass calls on: ``functools.partial``, and PyTorch's
    ``DistributedDataParallel``, which keeps the model in ``module``.

    >>> class Sam:
    ...     wants_boxes = True
    >>> wants_boxes(Sam()), wants_boxes(len)
    (True, False)
    """
    declared = getattr(model, "wants_boxes", None)
    if declared is not None:
        return bool(declared)
    inner = model.func if isinstance(model, partial) else getattr(model, "module", None)
    return inner is not None and wants_boxes(inner)


def box_options(model: object, boxes: Sequence[Box] | None) -> dict[str, Any]:
    """Keyword arguments for a call: ``boxes`` if the model wants boxes, otherwise none.

    Args:
        model: The model that will be called.
        boxes: One box per image; None if the data has none.
    """
    return {"boxes": boxes} if wants_boxes(model) else {}


def without_ignored(logits: Tensor, ignored: Masks | None) -> Tensor:
    """Replace the logits of ignored pixels by a constant, so that they are sure background.

    The masks are background there, too. Ignored pixels thus are true negatives with no gradient:
    no loss, attack or score depends on what the model says about them.

    Args:
        logits: Logits ``(b, maps, h, w)``.
        ignored: Ignored pixels ``(b, 1, h, w)`` or ``(1, 1, h, w)``; None if all pixels count.
    """
    return logits if ignored is None else logits.masked_fill(ignored, _IGNORED)


def refuse_missing_prompts(model: object, levels: Iterable[str]) -> None:
    """Raise an error if a model reads a prompt, and the data have none.

    Args:
        model: The model; one that declares ``text_conditioned = True`` reads a prompt.
        levels: Prompt levels of the samples.

    Raises:
        ValueError: If the model reads a prompt and a sample has none.
    """
    if getattr(model, "text_conditioned", False) and NO_PROMPT in levels:
        raise ValueError(
            f"Expected a prompt that names what the masks show, because "
            f"{getattr(model, 'name', 'the model')} reads one, got none. Give one: --prompt "
            "TEXT (of evaluate), data.override_prompt (of a recipe), load_pairs(prompt=...)."
        )


@dataclass(frozen=True)
class Bound:
    """A model with the prompts and boxes of a batch bound: maps images to logits.

    Attributes:
        model: Called as ``model(images, prompts=[...])``, and with ``boxes=[...]`` if it declares
            ``wants_boxes = True``.
        prompts: One text per image.
        boxes: One box per image; kept, but not passed on, for a model that does not want boxes.
        ignored: Pixels that do not count, see :func:`without_ignored`.
    """

    model: Callable[..., Tensor]
    prompts: Sequence[str]
    boxes: Sequence[Box] | None = None
    ignored: Masks | None = None

    def __call__(self, images: Images) -> Tensor:
        options = box_options(self.model, self.boxes)
        return without_ignored(self.model(images, prompts=self.prompts, **options), self.ignored)

    def for_images(self, rows: Sequence[int]) -> "Bound":
        """Select the prompts and boxes of some images of the batch.

        Args:
            rows: Positions of the images in the batch.
        """
        return replace(
            self,
            prompts=tuple(self.prompts[row] for row in rows),
            boxes=None if self.boxes is None else tuple(self.boxes[row] for row in rows),
            ignored=None if self.ignored is None else self.ignored[list(rows)],
        )
