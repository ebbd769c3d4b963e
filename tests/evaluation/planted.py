"""Models that are broken in known ways, each with the check of the sanity card meant for it.

Fourteen fakes look robust, or are measured wrongly, for a reason other than robustness.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from palpate.attacks.bpda.stages import BitDepth, Jpeg

from .blobs import BlobFinder, blobs


class Wrong(BlobFinder):
    """A blob finder with something wrong before or after it."""

    def __init__(
        self,
        before: Callable[[Tensor], Tensor] = lambda images: images,
        after: Callable[[Tensor], Tensor] = lambda logits: logits,
    ) -> None:
        super().__init__()
        self.before, self.after = before, after

    def forward(self, images, prompts):
        return self.after(super().forward(self.before(images), prompts))


class Learning(BlobFinder):
    """Keeps statistics although it is told not to."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images, prompts):
        self.seen += len(images)
        return super().forward(images, prompts)


class NeverEvaluating(BlobFinder):
    def forward(self, images, prompts):
        self.train()
        return super().forward(images, prompts)


class BatchStatistics(BlobFinder):
    """Normalises by what is in the batch, also where it is evaluated."""

    def forward(self, images, prompts):
        return nn.functional.batch_norm(super().forward(images, prompts), None, None, training=True)


class Misleading(torch.autograd.Function):
    """The identity, whose gradient points the other way."""

    @staticmethod
    def forward(_ctx, images):
        return images.clone()

    @staticmethod
    def backward(_ctx, gradient):
        return -gradient


def straight_through(stage: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A stage whose gradient passes as if it did nothing."""
    return lambda images: images + (stage(images.detach()) - images.detach())


class FromMemory(BlobFinder):
    """Knows images by heart, and answers for all that is near one as for the image itself.

    Its gradient is that of its answer, only a hundred times smaller than elsewhere.
    """

    def __init__(self, known: Tensor, radius: float = 56 / 255) -> None:
        super().__init__()
        self.register_buffer("known", known)
        self.radius = radius

    def forward(self, images, prompts):
        apart = (images.detach()[:, None] - self.known).abs().flatten(2).amax(2)
        nearest = self.known[apart.argmin(1)]
        is_near = (apart.amin(1) < self.radius).view(-1, 1, 1, 1)
        remembered = nearest + 0.01 * (images - nearest)
        return super().forward(torch.where(is_near, remembered, images), prompts)


def shattered(images: Tensor) -> Tensor:
    """Adds a ripple so steep that the gradient at a point tells nothing of its surroundings."""
    return images + 0.005 * torch.sin(images * 600)


KNOWN = torch.stack([sample.image for sample in blobs(4)])

# Name of the fake, how it is made, and the number of the check meant for it.
FAKES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "answers at random": (lambda: Wrong(after=lambda z: z + torch.randn_like(z)), 15),
    "normalises over the batch": (BatchStatistics, 15),
    "ignores the image": (lambda: Wrong(before=lambda x: x * 0 + KNOWN[0]), 4),
    "rounds to 32 levels": (lambda: Wrong(before=lambda x: (x * 32).round() / 32), 10),
    "cuts the gradient off": (lambda: Wrong(before=lambda x: x.detach()), 10),
    "saturates": (lambda: Wrong(after=lambda z: 1e4 * z), 10),
    "answers NaN": (lambda: Wrong(after=lambda z: z * torch.nan), 10),
    "learns while attacked": (Learning, 12),
    "stays in training mode": (NeverEvaluating, 12),
    "points the wrong way": (lambda: Wrong(before=Misleading.apply), 7),
    "rounds to 8 levels, straight-through": (lambda: Wrong(straight_through(BitDepth(3))), 18),
    "JPEG, straight-through": (lambda: Wrong(straight_through(Jpeg(75))), 18),
    "shatters the gradient": (lambda: Wrong(before=shattered), 19),
    "answers from memory": (lambda: FromMemory(KNOWN), 20),
}
