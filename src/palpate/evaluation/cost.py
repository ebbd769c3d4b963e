"""What an attack costs: passes through the model and seconds, whatever the attack is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from palpate.evaluation.frozen import threshold_of
from palpate.prompting import Bound, wants_boxes
from palpate.types import Box, Images, Logits, Maps, Segmenter

T = TypeVar("T", bound=Tensor)


class Cost(NamedTuple):
    """Passes and seconds spent on one image."""

    forwards: float
    backwards: float
    seconds: float


class Tally:
    """Adds up what passes through a :class:`Metered` model while it is entered.

    >>> with Tally() as tally:
    ...     model = Metered(lambda images, prompts: images[:, :1], ("polyp", "mole"), tally)
    ...     _ = model(torch.zeros(2, 3, 4, 4))
    >>> tally.per_image(2).forwards
    1.0
    """

    def __init__(self) -> None:
        self.forwards = self.backwards = 0
        self.seconds = 0.0

    def __enter__(self) -> "Tally":
        self._started = _now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += _now() - self._started

    def per_image(self, count: int) -> Cost:
        """The mean over ``count`` images."""
        return Cost(self.forwards / count, self.backwards / count, self.seconds / count)

    def counted(self, logits: T) -> T:
        """The logits, noted as a pass for each; a gradient that comes back will be noted too."""
        self.forwards += len(logits)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)  # type: ignore[no-untyped-call]
        return logits

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@dataclass(frozen=True)
class Metered:
    """A model with prompts and boxes bound that counts the images that pass, there and back."""

    model: Segmenter
    prompts: Sequence[str]
    tally: Tally
    boxes: Sequence[Box] | None = None

    def __call__(self, images: Images) -> Maps:
        if len(images) != len(self.prompts):
            raise ValueError(f"Expected {len(self.prompts)} images, one a prompt: {len(images)}.")
        return self.tally.counted(Bound(self.model, self.prompts, self.boxes)(images))

    def for_images(self, rows: Sequence[int]) -> "Metered":
        """The same for some images of the batch; attacks that drop finished images ask for it."""
        some = Bound(self.model, self.prompts, self.boxes).for_images(rows)
        return replace(self, prompts=some.prompts, boxes=some.boxes)


@dataclass(frozen=True)
class MeteredSurrogate:
    """Another model that an attack asks in place of the one it attacks, counting likewise."""

    model: Callable[..., Logits]
    tally: Tally

    @property
    def threshold_logit(self) -> float:
        return threshold_of(self.model)

    @property
    def wants_boxes(self) -> bool:
        return wants_boxes(self.model)

    def __call__(self, images: Images, **prompts: Any) -> Logits:
        return self.tally.counted(self.model(images, **prompts))


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # kernels run behind the program's back
    return time.perf_counter()
