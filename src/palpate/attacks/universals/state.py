"""Where a fit stands, so that it goes on exactly where it was stopped."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.attacks.universals.files import read_tensors, write_tensors
from palpate.types import Images, Norm, PerImage

_SECONDS = 20.0  # between two states of one epoch
_DECAYS = (0.9, 0.999)
_TINY = 1e-20  # gradients of a mean over pixels are small themselves


@dataclass
class Fitted:
    """The whole state of a fit; the order of the batches follows from the seed.

    Attributes:
        delta: The perturbation, on the CPU.
        epoch: Epochs done.
        batch: Batches done of the next one.
        updates: Batches done in all.
        moved: Whether any gradient was not zero.
        total: Sum of the losses of the images of this epoch.
        images: Their number.
        history: Mean loss of every epoch done.
        mean: Adam's running mean of the gradient.
        square: Adam's running mean of its square.
    """

    delta: Float[Tensor, "c h w"]
    epoch: int = 0
    batch: int = 0
    updates: int = 0
    moved: bool = False
    total: float = 0.0
    images: int = 0
    history: list[float] = field(default_factory=list)
    mean: Tensor | None = None
    square: Tensor | None = None

    def note(
        self,
        delta: Float[Tensor, "c h w"],
        gradient: Float[Tensor, "1 c h w"],
        losses: PerImage,
        batches: int,
    ) -> None:
        """One batch is done."""
        self.delta = delta.cpu()
        self.moved = self.moved or bool((gradient != 0).any())
        self.total += losses.double().sum().item()
        self.images += len(losses)
        self.batch, self.updates = self.batch + 1, self.updates + 1
        if self.batch == batches:
            self.history.append(self.total / self.images)
            self.epoch, self.batch, self.total, self.images = self.epoch + 1, 0, 0.0, 0

    def done(self, batches: int) -> int:
        """Batches done in all epochs."""
        return self.epoch * batches + self.batch


def adam_step(fitted: Fitted, gradient: Images, step_size: float, norm: Norm) -> Images:
    """One step of Adam upwards, about ``step_size`` long; moves its running means along."""
    first, second = _DECAYS
    zero = torch.zeros_like(gradient)
    mean = zero if fitted.mean is None else fitted.mean.to(gradient)
    square = zero if fitted.square is None else fitted.square.to(gradient)
    mean = first * mean + (1 - first) * gradient
    square = second * square + (1 - second) * gradient.square()
    fitted.mean, fitted.square = mean.cpu(), square.cpu()
    count = fitted.updates + 1
    pace = (mean / (1 - first**count)) / ((square / (1 - second**count)).sqrt() + _TINY)
    return pace * (step_size if norm == "linf" else step_size / math.sqrt(pace.numel()))


@dataclass
class Log:
    """The state file of a fit; without a file nothing is kept.

    Attributes:
        file: A safetensors file.
        settings: All that decides the outcome but the number of epochs.
    """

    file: Path | None
    settings: Mapping[str, str]
    _written: float = field(default_factory=time.monotonic)

    def read(self) -> Fitted | None:
        """The state that is there, if any.

        Raises:
            ValueError: If it is damaged, or of a fit with other settings.
        """
        if self.file is None or not self.file.is_file():
            return None
        tensors, text = read_tensors(self.file)
        told: dict[str, Any] = json.loads(text)
        settings = told.pop("settings", {})
        names = sorted(settings.keys() | self.settings.keys())
        differing = [
            f"{name} ({self.settings.get(name, 'absent')} here, {settings.get(name, 'absent')} "
            "there)"
            for name in names
            if settings.get(name) != self.settings.get(name)
        ]
        if differing:
            raise ValueError(
                f"{self.file} holds the state of another fit: they differ in "
                f"{', '.join(differing)}. Choose another state file, or delete that one."
            )
        told |= tensors
        return Fitted(**told)

    def write(self, fitted: Fitted) -> None:
        """Keep the state at the end of an epoch, and where the last one has become old."""
        old = time.monotonic() - self._written >= _SECONDS
        if self.file is None or not (old or fitted.batch == 0):
            return
        values = dict(vars(fitted))
        tensors = {k: values.pop(k) for k in ("delta", "mean", "square")}
        text = json.dumps(values | {"settings": dict(self.settings)})
        write_tensors({k: v for k, v in tensors.items() if v is not None}, self.file, text)
        self._written = time.monotonic()
