"""Checks of a model before it is attacked, as printed by ``palpate models check``.

An attack looks weaker than it is if the network is not deterministic, if the images of a batch
influence each other, or if the gradient does not reach the pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from palpate.checks import CheckResult, Status
from palpate.models.facts import BROKEN, pixel_gradient
from palpate.models.pixel_model import PixelModel
from palpate.prompting import Bound
from palpate.types import Box, Images, Logits

_SATURATED = 16.6  # log(2 ** 24): above this magnitude a float32 sigmoid is exactly 0 or 1
# Rounding differs between batch sizes: tolerated difference, relative to the largest logit.
_ROUNDING = 1e-3
_LISTED = 5  # maximum number of names listed in a message


@dataclass(frozen=True)
class Specimen:
    """A model in evaluation mode, with the images, prompts and boxes that it is checked on."""

    model: PixelModel
    images: Images
    prompts: Sequence[str]
    boxes: Sequence[Box] | None = None

    @property
    def asked(self) -> Bound:
        """The model with prompts and boxes bound."""
        return Bound(self.model, self.prompts, self.boxes)

    @torch.no_grad()
    def logits(self) -> Logits:
        """The model's logits for the images."""
        return self.asked(self.images)

    def only(self, row: int) -> "Specimen":
        """The same model with a single image, the one at index ``row``."""
        one = self.asked.for_images([row])
        images = self.images[row : row + 1]
        return Specimen(self.model, images, one.prompts, one.boxes)


_Check: TypeAlias = Callable[[Specimen], tuple[Status, str]]


def examine(
    model: PixelModel,
    images: Images,
    prompts: Sequence[str],
    boxes: Sequence[Box] | None = None,
) -> list[CheckResult]:
    """Run every check on a few images; a check that raises an error counts as failed.

    Args:
        model: The model to check; it is put into evaluation mode.
        images: At least two RGB images ``(b, 3, h, w)`` in [0, 1].
        prompts: One text per image.
        boxes: One box per image, for a model that needs boxes.

    Returns:
        One result per check, in the order of :data:`CHECKS`.

    Raises:
        ValueError: If there are fewer than two images, or not one prompt per image.
    """
    if len(images) < 2 or len(prompts) != len(images):
        raise ValueError(
            "Expected two images or more with a prompt for each, got "
            f"{len(images)} images and {len(prompts)} prompts."
        )
    specimen = Specimen(model.eval(), images, prompts, boxes)
    return [_run(name, check, specimen) for name, check in CHECKS.items()]


def _answer(specimen: Specimen) -> tuple[Status, str]:
    logits = specimen.logits()
    expected = (len(specimen.images), 1, *specimen.images.shape[2:])
    if tuple(logits.shape) != expected or not logits.isfinite().all():
        return "fail", f"Expected finite logits of shape {expected}, got {tuple(logits.shape)}."
    saturated = (logits.abs() > _SATURATED).float().mean().item()
    seen = f"Logits {logits.min():.3g} to {logits.max():.3g}, {100 * saturated:.3g} % saturated."
    return "warn" if saturated > 0.25 else "pass", seen


def _other_sizes(specimen: Specimen) -> tuple[Status, str]:
    # Crop by 3 and 5 pixels, so that no patch size or stride is likely to divide both sides.
    images = specimen.images[:, :, :-3, :-5]
    shape = tuple(replace(specimen, images=images).logits().shape[2:])
    wanted = tuple(images.shape[2:])
    return "pass" if shape == wanted else "fail", f"Images {wanted} give logits {shape}."


def _gradient(specimen: Specimen) -> tuple[Status, str]:
    gradient = pixel_gradient(specimen.asked, specimen.images)
    if not gradient.isfinite().all():
        return "fail", "The gradient has values that are not finite."
    zero = (gradient == 0).all(1).flatten(1).float().mean(1)
    lengths = gradient.flatten(1).norm(dim=1)
    seen = (
        f"L2 norm {lengths.min():.3g} to {lengths.max():.3g}; it is zero at "
        f"{100 * zero.mean():.3g} % of the pixels."
    )
    if bool((lengths == 0).any()):
        return "fail", seen
    return "warn" if zero.mean() > 0.1 else "pass", seen


def _determinism(specimen: Specimen) -> tuple[Status, str]:
    # Exact equality: even rounding noise would make an attack irreproducible.
    first, *others = (specimen.logits() for _ in range(3))
    gap = max((other - first).abs().max().item() for other in others)
    return "fail" if gap > 0 else "pass", f"Logits of the same images differ by up to {gap:.3g}."


def _independence(specimen: Specimen) -> tuple[Status, str]:
    together = specimen.logits()
    alone = torch.cat([specimen.only(row).logits() for row in range(len(specimen.images))])
    gap = (together - alone).abs().max().item()
    allowed = _ROUNDING * max(1.0, together.abs().max().item())
    return (
        "fail" if gap > allowed else "pass",
        f"Alone and in a batch, logits of an image differ by up to {gap:.3g}.",
    )


def _unchanged(specimen: Specimen) -> tuple[Status, str]:
    model = specimen.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        pixel_gradient(specimen.asked, specimen.images)
    except BROKEN:  # reported by the gradient check; here a forward pass is enough
        specimen.logits()
    after = model.state_dict()
    changed = [name for name, value in before.items() if not value.equal(after[name])]
    training = [name or "the model" for name, part in model.named_modules() if part.training]
    if changed or training:
        return "fail", f"Changed: {_few(changed)}; in training mode: {_few(training)}."
    return "pass", "Weights, buffers and mode are as they were."


def _text(specimen: Specimen) -> tuple[Status, str]:
    prompts = list(specimen.prompts)
    other = prompts[1:] + prompts[:1]  # each image gets the prompt of the next one
    if other == prompts and not specimen.model.text_conditioned:
        other = [f"no {prompt}" for prompt in prompts]
    if other == prompts:
        return "warn", "All prompts are the same; pass different ones to see whether they matter."
    changed = replace(specimen, prompts=other).logits()
    gap = (changed - specimen.logits()).abs().max().item()
    if specimen.model.text_conditioned:
        return _matters("prompts", gap)
    if gap == 0:
        return "pass", "The model declares that it ignores text, and no text changes its output."
    return "warn", f"The model declares that it ignores text, but {_differ('prompts', gap)}"


def _box(specimen: Specimen) -> tuple[Status, str]:
    if not specimen.model.wants_boxes:
        return "pass", "The model is given no box."
    boxes = None if specimen.boxes is None else [*specimen.boxes[1:], *specimen.boxes[:1]]
    changed = replace(specimen, boxes=boxes).logits()
    return _matters("boxes", (changed - specimen.logits()).abs().max().item())


def _matters(what: str, gap: float) -> tuple[Status, str]:
    return "pass" if gap > 0 else "warn", _differ(what, gap).capitalize()


def _differ(what: str, gap: float) -> str:
    return f"with other {what} logits differ by up to {gap:.3g}."


CHECKS: dict[str, _Check] = {
    "answer": _answer,
    "other sizes": _other_sizes,
    "gradient reaches the pixels": _gradient,
    "determinism": _determinism,
    "independence of images": _independence,
    "left as it was": _unchanged,
    "text decides": _text,
    "box decides": _box,
}


def _run(name: str, check: _Check, specimen: Specimen) -> CheckResult:
    try:
        return CheckResult(name, *check(specimen))
    except BROKEN as error:
        return CheckResult(name, "fail", f"{type(error).__name__}: {error}")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) or "nothing"
