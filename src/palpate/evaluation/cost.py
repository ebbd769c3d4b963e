"""What an attack costs: passes through the model and seconds, whatever the attack is."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from palpate.attacks.prompted import Selectable
from palpate.types import Images, Logits, LogitsFn


class Cost(NamedTuple):
    """Passes and seconds spent on one image."""

    forwards: float
    backwards: float
    seconds: float


class Meter:
    """A model that counts the images that pass through it, forwards and backwards.

    Stands in for the model it wraps. As a context manager it takes the time:

    >>> with Meter(lambda images: images[:, :1]) as model:
    ...     _ = model(torch.zeros(2, 3, 4, 4))
    >>> model.per_image(2).forwards
    1.0
    """

    def __init__(self, model: LogitsFn) -> None:
        self.model = model
        self.forwards = self.backwards = 0
        self.seconds = 0.0

    def __call__(self, images: Images) -> Logits:
        return self._run(self.model, images)

    def for_images(self, rows: Sequence[int]) -> LogitsFn:
        """The model for some images of its batch, on the same account.

        Attacks that drop finished images ask for it, see :mod:`palpate.attacks.prompted`.
        """
        model = self.model.for_images(rows) if isinstance(self.model, Selectable) else self.model
        return _Part(self, model)

    def per_image(self, count: int) -> Cost:
        """The share of each of ``count`` images, which need not have cost the same."""
        return Cost(self.forwards / count, self.backwards / count, self.seconds / count)

    def __enter__(self) -> "Meter":
        self._started = _now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += _now() - self._started

    def _run(self, model: LogitsFn, images: Images) -> Logits:
        self.forwards += len(images)
        logits = model(images)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)
        return logits

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@dataclass(frozen=True)
class _Part:
    meter: Meter
    model: LogitsFn

    def __call__(self, images: Images) -> Logits:
        return self.meter._run(self.model, images)

    def for_images(self, rows: Sequence[int]) -> LogitsFn:
        model = self.model.for_images(rows) if isinstance(self.model, Selectable) else self.model
        return _Part(self.meter, model)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # kernels run behind the program's back
    return time.perf_counter()
