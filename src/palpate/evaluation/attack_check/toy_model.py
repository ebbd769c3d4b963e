"""A small model and images on which attacks are checked."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from palpate.attacks import noise
from palpate.attacks.losses import bce_dice
from palpate.evaluation.image_attacks import AttackAtRadius, check
from palpate.geometry import norms
from palpate.randomness import generator
from palpate.types import Images, Masks, Norm, PerImage

_SIDE, COUNT = 16, 4
_STD = (1.0, 1.0, 1.0)  # the toy model does not normalise its input


class ToyModel(nn.Module):
    """Smooth network with fixed weights; each logit depends on a neighbourhood of pixels."""

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
class ToyProblem:
    """An attack at one radius, with the model and images that it is checked on."""

    attack: AttackAtRadius
    net: ToyModel
    images: Images
    masks: Masks

    def run(self, images: Images | None = None, *, rows: Sequence[int] = range(COUNT)) -> Images:
        """Attack some of the images, and check the result as an evaluation does."""
        given = (self.images if images is None else images)[list(rows)]
        names = [f"image {row}" for row in rows]
        return check(self.raw(rows, given), given, self.attack, names, _STD)

    def raw(self, rows: Sequence[int], images: Images | None = None) -> Images:
        """Attack some of the images without the check; each has its own random generator."""
        truth = self.masks[list(rows)]
        given = self.images[list(rows)] if images is None else images
        return self.attack.run(
            self.net,
            given,
            truth,
            generators=[generator(0, f"image {row}") for row in rows],
            threshold=0.0,
            truth=truth.to(given),
            std=_STD,
        )

    def lengths(self, images: Images) -> PerImage:
        """Distance of each image from the clean one, in the norm of the attack."""
        return norms(images - self.images, self.norm)

    @property
    def norm(self) -> Norm:
        """Norm of the ball; L-infinity for balls in normalised units."""
        return "l2" if self.attack.norm == "l2" else "linf"

    def loss(self, images: Images) -> PerImage:
        """BCE plus Dice loss of the predictions."""
        with torch.no_grad():
            return bce_dice(self.net(images), self.masks)

    def noise(self, size: float) -> Images:
        """The images with random noise of norm ``size``, as a control."""
        random = [generator(0, f"noise {row}") for row in range(COUNT)]
        return noise(
            self.net, self.images, self.masks, epsilon=size, norm=self.norm, generator=random
        )


def toy_problem(attack: AttackAtRadius) -> ToyProblem:
    """Create the toy problem; masks are the clean predictions, so that the clean DSC is 1."""
    net = ToyModel().double().eval()
    images = torch.rand(COUNT, 3, _SIDE, _SIDE, generator=generator(1)).double()
    with torch.no_grad():
        return ToyProblem(attack, net, images, net(images) > 0)
