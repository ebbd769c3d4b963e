"""An image that is encoded once by a prompted model and evaluated with many texts."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.attacks.core.checks import check_images
from palpate.attacks.core.per_image import as_one_per_image, refuse_coupled_loss
from palpate.attacks.losses import bce_dice
from palpate.attacks.text.prompted import Prompted
from palpate.oom import Portions
from palpate.overlap import binarise, count, dice
from palpate.types import Images, Logits, Loss, Masks, PerImage

Conditions: TypeAlias = Float[Tensor, "b d"]
Candidates: TypeAlias = Sequence[str] | Conditions  # texts, or conditions of the decoder


class Harm(NamedTuple):
    """DSC and loss of an image with each candidate."""

    dsc: PerImage
    loss: PerImage

    def worst(self) -> int:
        """Index of the lowest DSC; among equals that of the highest loss, then the first."""
        return self._first(self.dsc == self.dsc.min(), self.loss)

    def best(self) -> int:
        """Index of the highest DSC; among equals that of the lowest loss, then the first."""
        return self._first(self.dsc == self.dsc.max(), -self.loss)

    def _first(self, eligible: Tensor, rank: PerImage) -> int:
        return int(torch.where(eligible, rank, -torch.inf).argmax())


class View:
    """One image and its mask, encoded once, to be evaluated with any text.

    Encoding the image takes nearly all the time of a forward pass.

    Args:
        model: Model with separate encoding of image and text.
        images: One image ``(1, c, h, w)`` in [0, 1].
        masks: Its mask ``(1, 1, h, w)``.
        threshold: Logit above which a pixel is foreground. It is subtracted from the logits before
            the loss is computed.
        loss: Used for gradients and to compare texts of equal DSC; one value per image.
        at_once: Number of candidates decoded together, to bound memory. Halved automatically if
            they do not fit.

    Raises:
        ValueError: If there is not exactly one image, or the model lacks a method.
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
                "searched for each image separately, so that no image can affect another."
            )
        if not isinstance(model, Prompted):
            raise ValueError(
                "Expected a model with encode, read and decode, see "
                f"palpate.attacks.text.Prompted, got {type(model).__name__}."
            )
        self.model, self.images, self.masks = model, images, masks
        self.threshold, self.loss, self.portions = threshold, loss, Portions(at_once)
        self._checked = False
        with torch.inference_mode(False), torch.no_grad():
            self._encoded = model.encode(images.detach().clone())

    def harm(self, candidates: Candidates) -> Harm:
        """DSC and loss with each of the candidates, without gradient.

        Raises:
            ValueError: If there is no candidate, or the loss is not one value per candidate.
            FloatingPointError: If a logit or a loss is not finite.
        """
        if not len(candidates):
            raise ValueError("Expected at least one candidate, got none.")
        each = self.portions.run(partial(self._harms, candidates), range(len(candidates)))
        dsc, losses = zip(*each, strict=True)
        return Harm(torch.stack(dsc), torch.stack(losses))

    def slopes(self, at: Tensor, conditions: Conditions) -> tuple[Tensor, Harm]:
        """Gradient of the loss of each condition with respect to ``at``, and DSC and loss.

        Args:
            at: Tensor that the conditions were computed from, one row per condition; requires a
                gradient.
            conditions: Conditions of the decoder, ``(b, d)``.

        Raises:
            RuntimeError: If no path leads from the losses to ``at``.
            FloatingPointError: If a logit, a loss or a gradient is not finite.
        """
        work = partial(self._slopes, at, conditions)
        each = self.portions.run(work, range(len(conditions)))
        gradients, dsc, losses = zip(*each, strict=True)
        gradient = torch.stack(gradients)
        if not gradient.isfinite().all():
            raise FloatingPointError("Expected a finite gradient for the text, got NaN or inf.")
        return gradient, Harm(torch.stack(dsc), torch.stack(losses))

    def _harms(self, candidates: Candidates, rows: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """DSC and loss of each of these candidates, whose indices are consecutive."""
        some = candidates[rows[0] : rows[-1] + 1]
        with torch.inference_mode(False), torch.no_grad():
            conditions = some if isinstance(some, Tensor) else self.model.read(some)
            harm = self._judge(self.model.decode(self._encoded, conditions))
        return zip(harm.dsc, harm.loss, strict=True)

    def _slopes(
        self, at: Tensor, conditions: Conditions, rows: list[int]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Gradient, DSC and loss of each of these conditions."""
        harm = self._judge(self.model.decode(self._encoded, conditions[rows]))
        gradient: Tensor | None = None
        if harm.loss.requires_grad:
            # The graph from ``at`` to the conditions is used once per portion, so it is retained.
            (gradient,) = torch.autograd.grad(
                harm.loss.sum(), at, retain_graph=True, allow_unused=True
            )
        if gradient is None:
            raise RuntimeError(
                "Expected logits that depend on the text, got logits that autograd cannot trace "
                "back to it; run the text tower and the decoder with gradients."
            )
        return zip(gradient[rows], harm.dsc, harm.loss.detach(), strict=True)

    def _judge(self, logits: Logits) -> Harm:
        logits = logits.to(self.images.dtype)
        masks = self.masks.expand(len(logits), -1, -1, -1)
        dsc = dice(count(binarise(logits.detach(), self.threshold), masks)).to(logits)
        loss = self._losses(masks, logits)
        # The check calls the loss again, so it is made once and not for every batch.
        if len(logits) > 1 and not self._checked:
            refuse_coupled_loss(partial(self._losses, masks.clone()), logits)
            self._checked = True
        if not loss.isfinite().all():
            # Continuing would keep the prompt unchanged, which would look like robustness.
            raise FloatingPointError(f"Expected finite losses, got {loss.tolist()}.")
        return Harm(dsc, loss)

    def _losses(self, masks: Masks, logits: Logits) -> PerImage:
        return as_one_per_image(self.loss(logits - self.threshold, masks), len(logits))
