"""The state of a fit and its checkpoint file, from which an interrupted fit continues exactly."""

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

_SECONDS = 20.0  # between two checkpoints within an epoch
_DECAYS = (0.9, 0.999)  # Adam's defaults (Kingma and Ba, 2015)
_TINY = 1e-20  # not Adam's usual 1e-8: gradients of a mean over pixels may be as small as that


@dataclass
class Fitted:
    """The complete state of a fit, except for the order of batches, which the seed determines.

    Attributes:
        delta: The perturbation, on the CPU.
        epoch: Number of finished epochs.
        batch: Number of finished batches in the current epoch.
        updates: Number of finished batches in all epochs.
        moved: Whether any gradient was not zero.
        total: Sum of the losses of all images in the current epoch.
        images: Number of these images.
        history: Mean loss of each finished epoch.
        mean: Adam's running mean of the gradient.
        square: Adam's running mean of the squared gradient.
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
        """Record a finished batch.

        Args:
            delta: Perturbation after the step.
            gradient: Gradient that the step followed.
            losses: Loss of each image of the batch.
            batches: Number of batches in an epoch.
        """
        self.delta = delta.cpu()
        self.moved = self.moved or bool((gradient != 0).any())
        self.total += losses.double().sum().item()
        self.images += len(losses)
        self.batch, self.updates = self.batch + 1, self.updates + 1
        if self.batch == batches:
            self.history.append(self.total / self.images)
            self.epoch, self.batch, self.total, self.images = self.epoch + 1, 0, 0.0, 0

    def done(self, batches: int) -> int:
        """Number of finished batches in all epochs, for epochs of ``batches`` batches."""
        return self.epoch * batches + self.batch


def adam_step(fitted: Fitted, gradient: Images, step_size: float, norm: Norm) -> Images:
    """One ascent step of Adam, about ``step_size`` long; updates the means in ``fitted``."""
    first, second = _DECAYS
    zero = torch.zeros_like(gradient)
    mean = zero if fitted.mean is None else fitted.mean.to(gradient)
    square = zero if fitted.square is None else fitted.square.to(gradient)
    mean = first * mean + (1 - first) * gradient
    square = second * square + (1 - second) * gradient.square()
    fitted.mean, fitted.square = mean.cpu(), square.cpu()
    count = fitted.updates + 1
    # Each value of the pace is about 1 in size, so its l2 norm is about the root of their number.
    pace = (mean / (1 - first**count)) / ((square / (1 - second**count)).sqrt() + _TINY)
    return pace * (step_size if norm == "linf" else step_size / math.sqrt(pace.numel()))


@dataclass
class Log:
    """The checkpoint file of a fit.

    Attributes:
        file: Safetensors file; None writes no checkpoints.
        settings: All settings that affect the result, except the number of epochs.
    """

    file: Path | None
    settings: Mapping[str, str]
    _written: float = field(default_factory=time.monotonic)

    def read(self) -> Fitted | None:
        """Read the state from the file; None if there is no file.

        Raises:
            ValueError: If the file is damaged, or belongs to a fit with other settings.
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
        """Write the state at the end of an epoch, or if the last write is 20 seconds old."""
        old = time.monotonic() - self._written >= _SECONDS
        if self.file is None or not (old or fitted.batch == 0):
            return
        values = dict(vars(fitted))
        tensors = {k: values.pop(k) for k in ("delta", "mean", "square")}
        text = json.dumps(values | {"settings": dict(self.settings)})
        write_tensors({k: v for k, v in tensors.items() if v is not None}, self.file, text)
        self._written = time.monotonic()
