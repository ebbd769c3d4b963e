"""Is a model fit to be attacked? What ``palpate models check`` finds out.

A network that draws random numbers, that lets images of a batch influence each other, or that loses
the gradient on its way to the pixels makes every attack look weaker than it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from palpate.data.boxes import Prompt
from palpate.models.facts import BROKEN, pixel_gradient
from palpate.models.pixel_model import PixelModel
from palpate.types import Images, Logits

Status: TypeAlias = Literal["pass", "warn", "fail"]

_SATURATED = 16.6  # log(2 ** 24): beyond it the sigmoid is exactly 0 or 1 in single precision
_ROUNDING = 1e-3  # of the largest logit: what a batch of another size may change


@dataclass(frozen=True)
class Finding:
    """One check: its name, how it came out, and what was seen."""

    name: str
    status: Status
    seen: str


@dataclass(frozen=True)
class Specimen:
    """A model in evaluation mode, and two images or more with their prompts."""

    model: PixelModel
    images: Images
    prompts: Sequence[str]

    @torch.no_grad()
    def logits(self, images: Images | None = None, prompts: Sequence[str] | None = None) -> Logits:
        """What the model answers."""
        found: Logits = self.model(
            self.images if images is None else images, self.prompts if prompts is None else prompts
        )
        return found


def examine(model: PixelModel, images: Images, prompts: Sequence[str]) -> list[Finding]:
    """Check a model on a few images; what cannot be carried out has failed.

    Args:
        model: Is put into evaluation mode.
        images: Two or more, in [0, 1].
        prompts: One for each.

    Raises:
        ValueError: If there are fewer than two images.
    """
    if len(images) < 2 or len(prompts) != len(images):
        raise ValueError(
            f"Expected two images or more with a prompt for each, got {len(images)} and "
            f"{len(prompts)}."
        )
    specimen = Specimen(model.eval(), images, prompts)
    return [_carried_out(name, check, specimen) for name, check in CHECKS.items()]


def _answer(specimen: Specimen) -> tuple[Status, str]:
    logits = specimen.logits()
    expected = (len(specimen.images), 1, *specimen.images.shape[2:])
    if tuple(logits.shape) != expected or not logits.isfinite().all():
        return "fail", f"Expected finite logits of shape {expected}, got {tuple(logits.shape)}."
    saturated = (logits.abs() > _SATURATED).float().mean().item()
    seen = f"Logits {logits.min():.3g} to {logits.max():.3g}, {100 * saturated:.3g} % saturated."
    return "warn" if saturated > 0.25 else "pass", seen


def _other_sizes(specimen: Specimen) -> tuple[Status, str]:
    images = specimen.images[:, :, :-3, :-5]
    shape = tuple(specimen.logits(images).shape[2:])
    wanted = tuple(images.shape[2:])
    return "pass" if shape == wanted else "fail", f"Images {wanted} give logits {shape}."


def _gradient(specimen: Specimen) -> tuple[Status, str]:
    gradient = pixel_gradient(specimen.model, specimen.images, specimen.prompts)
    if not gradient.isfinite().all():
        return "fail", "The gradient has values that are not finite."
    zero = (gradient == 0).all(1).flatten(1).float().mean(1)
    lengths = gradient.flatten(1).norm(dim=1)
    seen = (
        f"Length {lengths.min():.3g} to {lengths.max():.3g}; {100 * zero.mean():.3g} % of the "
        "pixels have none."
    )
    if bool((lengths == 0).any()):
        return "fail", seen
    return "warn" if zero.mean() > 0.1 else "pass", seen


def _determinism(specimen: Specimen) -> tuple[Status, str]:
    first, *others = (specimen.logits() for _ in range(3))
    gap = max((other - first).abs().max().item() for other in others)
    return "fail" if gap > 0 else "pass", f"Logits of the same images differ by up to {gap:.3g}."


def _independence(specimen: Specimen) -> tuple[Status, str]:
    together = specimen.logits()
    pairs = zip(specimen.images, specimen.prompts, strict=True)
    alone = torch.cat([specimen.logits(image[None], [prompt]) for image, prompt in pairs])
    gap = (together - alone).abs().max().item()
    allowed = _ROUNDING * max(1.0, together.abs().max().item())
    return (
        "fail" if gap > allowed else "pass",
        f"Alone and in a batch, logits of an image differ by up to {gap:.3g}.",
    )


def _left_alone(specimen: Specimen) -> tuple[Status, str]:
    model = specimen.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        pixel_gradient(model, specimen.images, specimen.prompts)
    except BROKEN:  # a check of its own says so
        specimen.logits()
    after = model.state_dict()
    changed = [name for name, value in before.items() if not value.equal(after[name])]
    learning = [name or "itself" for name, module in model.named_modules() if module.training]
    if changed or learning:
        return "fail", f"Changed: {_few(changed)}; in training mode: {_few(learning)}."
    return "pass", "Weights, buffers and mode are as they were."


def _text(specimen: Specimen) -> tuple[Status, str]:
    asked, other = specimen.logits(), list(specimen.prompts[1:]) + list(specimen.prompts[:1])
    if other == list(specimen.prompts) and not specimen.model.text_conditioned:
        other = [f"no {prompt}" for prompt in specimen.prompts]
    if specimen.model.wants_boxes:  # only the texts change places
        other = list(map(_said_of, specimen.prompts, other))
    if other == list(specimen.prompts):
        return "warn", "All prompts are the same; give others to see whether they decide."
    gap = (specimen.logits(prompts=other) - asked).abs().max().item()
    if specimen.model.text_conditioned:
        return _decides("prompts", gap)
    if gap == 0:
        return "pass", "It is asked with no text, and none changes its answer."
    return "warn", f"Its card says that text decides nothing; {_differ('prompts', gap)}"


def _box(specimen: Specimen) -> tuple[Status, str]:
    if not specimen.model.wants_boxes:
        return "pass", "It is asked with no box."
    asked, prompts = specimen.logits(), specimen.prompts
    other = list(map(_said_of, [*prompts[1:], *prompts[:1]], prompts))
    return _decides("boxes", (specimen.logits(prompts=other) - asked).abs().max().item())


def _decides(what: str, gap: float) -> tuple[Status, str]:
    return "pass" if gap > 0 else "warn", _differ(what, gap).capitalize()


def _differ(what: str, gap: float) -> str:
    return f"with other {what} logits differ by up to {gap:.3g}."


CHECKS: dict[str, Callable[[Specimen], tuple[Status, str]]] = {
    "answer": _answer,
    "other sizes": _other_sizes,
    "gradient reaches the pixels": _gradient,
    "determinism": _determinism,
    "independence of images": _independence,
    "left as it was": _left_alone,
    "text decides": _text,
    "box decides": _box,
}


def _carried_out(
    name: str, check: Callable[[Specimen], tuple[Status, str]], specimen: Specimen
) -> Finding:
    try:
        return Finding(name, *check(specimen))
    except BROKEN as error:
        return Finding(name, "fail", f"{type(error).__name__}: {error}")


def _said_of(prompt: str, text: str) -> str:
    """A text with the box that a prompt has."""
    return prompt.saying(text) if isinstance(prompt, Prompt) else text


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) or "nothing"
