"""What an attack is tried out on, before anybody believes its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from palpate.attacks import noise
from palpate.attacks.losses import bce_dice
from palpate.evaluation.conditions import Trial, check
from palpate.geometry import norms
from palpate.randomness import generator
from palpate.types import Images, Masks, Norm, PerImage

_SIDE, COUNT = 16, 4
_STD = (1.0, 1.0, 1.0)  # of a network that normalises nothing


class PracticeNet(nn.Module):
    """Smooth, with fixed weights, and every logit sees a neighbourhood; it is always right."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.Softplus(), nn.Conv2d(8, 1, 3, padding=1)
        )
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.6, generator=generator(3))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return 3 * (logits - logits.mean((1, 2, 3), keepdim=True))  # both classes in every image


@dataclass(frozen=True)
class Exam:
    """An attack at one strength, and what it is tried on."""

    trial: Trial
    net: PracticeNet
    images: Images
    masks: Masks

    def run(self, images: Images | None = None, *, rows: Sequence[int] = range(COUNT)) -> Images:
        """What the attack makes of some rows of the images, checked as in an evaluation."""
        given = (self.images if images is None else images)[list(rows)]
        names = [f"image {row}" for row in rows]
        return check(self.raw(rows, given), given, self.trial, names, _STD)

    def raw(self, rows: Sequence[int], images: Images | None = None) -> Images:
        """The same unchecked, each image with random numbers of its own."""
        truth = self.masks[list(rows)]
        given = self.images[list(rows)] if images is None else images
        return self.trial.run(
            self.net,
            given,
            truth,
            generators=[generator(0, f"image {row}") for row in rows],
            threshold=0.0,
            truth=truth.to(given),
            std=_STD,
        )

    def lengths(self, images: Images) -> PerImage:
        """How far each image is from the clean one, in the norm of the trial."""
        return norms(images - self.images, self.norm)

    @property
    def norm(self) -> Norm:
        """Of the ball, or the nearest to it."""
        return "l2" if self.trial.norm == "l2" else "linf"

    def loss(self, images: Images) -> PerImage:
        """BCE and Dice of the network's answers."""
        with torch.no_grad():
            return bce_dice(self.net(images), self.masks)

    def noise(self, size: float) -> Images:
        """Images with noise of that size instead."""
        random = [generator(0, f"noise {row}") for row in range(COUNT)]
        return noise(
            self.net, self.images, self.masks, epsilon=size, norm=self.norm, generator=random
        )


def exam_of(trial: Trial) -> Exam:
    """The attack before images that the network segments as they are to be segmented."""
    net = PracticeNet().double().eval()
    images = torch.rand(COUNT, 3, _SIDE, _SIDE, generator=generator(1)).double()
    with torch.no_grad():
        return Exam(trial, net, images, net(images) > 0)
