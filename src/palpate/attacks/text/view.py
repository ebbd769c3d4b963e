"""One image as a prompted model sees it: encoded once, asked as often as one likes."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.attacks._checks import check_images
from palpate.attacks.losses import bce_dice
from palpate.attacks.text.prompted import Prompted
from palpate.overlap import binarise, count, dice
from palpate.types import Images, Logits, Loss, Masks, PerImage

Conditions: TypeAlias = Float[Tensor, "b d"]
Candidates: TypeAlias = Sequence[str] | Conditions  # texts, or what the decoder is told directly


class Harm(NamedTuple):
    """What each candidate does to the image."""

    dsc: PerImage
    loss: PerImage

    def worst(self) -> int:
        """The candidate of the lowest DSC; among equals of the highest loss, then the first."""
        return self._first(self.dsc == self.dsc.min(), self.loss)

    def best(self) -> int:
        """The candidate of the highest DSC; among equals of the lowest loss, then the first."""
        return self._first(self.dsc == self.dsc.max(), -self.loss)

    def _first(self, eligible: Tensor, rank: PerImage) -> int:
        return int(torch.where(eligible, rank, -torch.inf).argmax())


class View:
    """One image and its mask under a model that any text can be given to.

    Encoding the image is nearly all of a forward pass, and it happens once, here.

    Args:
        model: Takes the image and the text apart.
        images: One image ``(1, c, h, w)`` in [0, 1].
        masks: Its mask.
        threshold: Logit above which a pixel is foreground.
        loss: What decides between texts of equal DSC, and gives gradients; one value per image.
        at_once: Candidates decoded together, to bound memory.

    Raises:
        ValueError: If it is not one image, or the model cannot be taken apart.
    """

    def __init__(
        self,
        model: Prompted,
        images: Images,
        masks: Masks,
        *,
        threshold: float = 0.0,
        loss: Loss = bce_dice,
        at_once: int = 32,
    ) -> None:
        check_images(images, masks)
        if len(images) != 1 or at_once < 1:
            raise ValueError(
                f"Expected one image and at_once >= 1, got {len(images)} and {at_once}; texts are "
                "looked for image by image, so that no image can decide for another."
            )
        if not isinstance(model, Prompted):
            raise ValueError(
                "Expected a model with encode, read and decode, see "
                f"palpate.attacks.text.Prompted, got {type(model).__name__}."
            )
        self.model, self.images, self.masks = model, images, masks
        self.threshold, self.loss, self.at_once = threshold, loss, at_once
        with torch.inference_mode(False), torch.no_grad():
            self._encoded = model.encode(images.detach().clone())

    def harm(self, candidates: Candidates) -> Harm:
        """What each of the candidates does to the image, without gradient.

        Raises:
            ValueError: If there is none.
            FloatingPointError: If a logit or a loss is not finite.
        """
        if not len(candidates):
            raise ValueError("Expected at least one candidate, got none.")
        parts = [
            self._harm(candidates[i : i + self.at_once])
            for i in range(0, len(candidates), self.at_once)
        ]
        return Harm(*map(torch.cat, zip(*parts, strict=True)))

    def slopes(self, at: Tensor, conditions: Conditions) -> tuple[Tensor, Harm]:
        """Gradient of each condition's loss with respect to ``at``, which it was made from.

        Args:
            at: One row per condition; requires a gradient.
            conditions: What the decoder is told.

        Raises:
            RuntimeError: If no path leads from the losses to ``at``.
            FloatingPointError: If a logit, a loss or a gradient is not finite.
        """
        harm = self._judge(self.model.decode(self._encoded, conditions))
        gradient: Tensor | None = None
        if harm.loss.requires_grad:
            (gradient,) = torch.autograd.grad(harm.loss.sum(), at, allow_unused=True)
        if gradient is None:
            raise RuntimeError(
                "Expected logits that depend on the text, got logits that autograd cannot trace "
                "back to it; run the text tower and the decoder with gradients."
            )
        if not gradient.isfinite().all():
            raise FloatingPointError("Expected a finite gradient for the text, got NaN or inf.")
        return gradient, Harm(harm.dsc, harm.loss.detach())

    def _harm(self, candidates: Candidates) -> Harm:
        with torch.inference_mode(False), torch.no_grad():
            conditions = (
                candidates if isinstance(candidates, Tensor) else self.model.read(candidates)
            )
            return self._judge(self.model.decode(self._encoded, conditions))

    def _judge(self, logits: Logits) -> Harm:
        logits = logits.to(self.images.dtype)
        masks = self.masks.expand(len(logits), -1, -1, -1)
        dsc = dice(count(binarise(logits.detach(), self.threshold), masks)).to(logits)
        loss = self.loss(logits, masks)
        if not loss.isfinite().all():
            # Carrying on would keep the prompt as it is, which looks like robustness.
            raise FloatingPointError(f"Expected finite losses, got {loss.tolist()}.")
        return Harm(dsc, loss)
