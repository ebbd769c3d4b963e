"""Fitting a universal perturbation to a training set by gradient ascent."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.attacks.core.checks import check_ball, check_images, check_schedule
from palpate.attacks.core.gradient_step import ZeroGradientWarning, evaluate_point, pixel_gradient
from palpate.attacks.core.problem import Problem
from palpate.attacks.losses import bce_dice
from palpate.attacks.threats import ANYWHERE, Inside, Outside, Threat, Within, threat_model
from palpate.attacks.universals.perturbation import UniversalPerturbation
from palpate.attacks.universals.state import Fitted, Log, adam_step
from palpate.geometry import random_in_ball
from palpate.oom import Portions
from palpate.progress import Progress, silent
from palpate.prompting import Bound
from palpate.randomness import generator
from palpate.types import Box, Images, Logits, Loss, Masks, Norm, PerImage, ScheduledLoss
from palpate.user_code import source_of, text_of

Optimizer: TypeAlias = Literal["sign", "adam"]
# Images, masks and prompts; boxes may follow, for models that want them, and ignored pixels.
FitBatch: TypeAlias = (
    tuple[Tensor, Tensor, Sequence[str] | None]
    | tuple[Tensor, Tensor, Sequence[str] | None, Sequence[Box] | None]
    | tuple[Tensor, Tensor, Sequence[str] | None, Sequence[Box] | None, Masks | None]
)

_STAGE = "universal"


@torch.no_grad()
def fit_universal(
    model: Callable[..., Logits],
    samples: Sequence[FitBatch],
    *,
    epsilon: float,
    norm: Norm = "linf",
    optimizer: Optimizer = "sign",
    step_size: float | None = None,
    epochs: int = 10,
    loss: Loss = bce_dice,
    clip: float | None = None,
    targeted: bool = False,
    random_start: bool = True,
    within: Within = ANYWHERE,
    threshold: float = 0.0,
    seed: int = 0,
    state: Path | str | None = None,
    made_of: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> UniversalPerturbation:
    r"""Fit a universal perturbation by ascent on batches (Shafahi et al., 2020).

    https://arxiv.org/abs/1811.11304, where it is called UAP-SGD. Batches are visited in a new order
    each epoch. For each batch, :math:`\delta` takes one ascent step on the mean over its images of

    .. math:: L(\mathrm{clamp}(x_i + \delta, 0, 1)),

    and is projected on the ball and the threat model. The clamp is part of the loss: a pixel that
    is clamped to black or white has no gradient.

    Args:
        model: Maps images to logits, called with ``prompts=`` where batches have prompts. Set it to
            evaluation mode and its weights to ``requires_grad_(False)`` before. If memory runs out,
            a batch is split in halves, for which prompts must be a sequence.
        samples: Batches, indexed from 0: each has images, masks, prompts (or None) and, for a
            model that wants them, boxes. All images have the same size and come from a training
            split, since the perturbation must be evaluated on other images. A batch is requested
            when it is needed, so a sequence that loads its items uses little memory.
        epsilon: Radius of the ball, in units of pixel value.
        norm: Norm of the ball.
        optimizer: ``"sign"`` steps along the steepest direction of one batch; ``"adam"`` (Kingma
            and Ba, 2015, https://arxiv.org/abs/1412.6980) along a running mean of the gradients,
            with a separate step length for each value.
        step_size: Length of one step, approximate for Adam. By default ``epsilon / 10``.
        epochs: Number of passes over all batches.
        loss: Quantity to maximise, one value per image, see :mod:`palpate.attacks.losses`. A
            :class:`~palpate.types.ScheduledLoss` runs its schedule once, over all epochs.
        clip: Images with a loss above this value (targeted: below it) do not contribute to the
            gradient, so that images already attacked successfully do not dominate it. None for no
            limit.
        targeted: Descend towards the masks, instead of ascending away from them.
        random_start: Start from a uniform point of the ball instead of zero.
        within: Threat model of the perturbation: ``"tied"``, ``{"border": 16}``,
            ``{"low_frequency": 0.05}``, ``{"periodic": 32}``, see
            :func:`~palpate.attacks.threats.threat_model`. It must not depend on the image.
        threshold: Logits above it are foreground. It is subtracted from the logits before the
            loss is computed.
        seed: Seed of the random start and of the order of the batches.
        state: Checkpoint file. The fit continues from it if it exists, and writes it after every
            epoch and every 20 seconds. The result is the same as without interruption. A finished
            fit can be continued with more epochs, except with a scheduled loss, whose schedule
            depends on the number of epochs.
        made_of: Provenance to store with the settings, e.g. hashes of model and data.
        progress: Called after each batch.

    Returns:
        The perturbation after the last step, on the CPU, in the precision of the images.

    Raises:
        ValueError: If an argument is not as described, batches differ in size, or ``state``
            belongs to a fit with other settings or has gone beyond ``epochs``.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        ZeroGradientWarning: If the gradient was zero for every batch.
    """
    threat = threat_model(within)
    _check(samples, epsilon, epochs, step_size, optimizer, threat)
    ascent = _Ascent(model, loss, targeted, clip, threshold)
    step_size = epsilon / 10 if step_size is None else step_size
    settings = {
        "epsilon": repr(float(epsilon)),
        "norm": norm,
        "optimizer": optimizer,
        "step_size": repr(float(step_size)),
        "loss": getattr(loss, "__name__", type(loss).__name__),
        "clip": repr(clip),
        "targeted": repr(targeted),
        "random_start": repr(random_start),
        "within": repr(threat),
        "seed": repr(seed),
        "batches": repr(len(samples)),
        # Omitted at its default: older checkpoints, without this setting, must still match.
        **({"threshold": repr(threshold)} if threshold else {}),
        **_apart(loss),
        # With a schedule, every step depends on the total number of epochs.
        **({"epochs": repr(epochs)} if isinstance(loss, ScheduledLoss) else {}),
        **{f"of.{name}": text for name, text in (made_of or {}).items()},
    }
    log = Log(None if state is None else Path(state), settings)
    fitted = log.read() or _start(samples, epsilon, norm, threat, random_start, seed)
    _refuse_beyond(fitted, epochs, state)
    total = epochs * len(samples)
    while fitted.epoch < epochs:
        for index in _order(len(samples), seed, fitted.epoch)[fitted.batch :]:
            images, masks, *asked = samples[index]
            _check_batch(images, masks, fitted.delta, epsilon, norm)
            share = fitted.done(len(samples)) / total
            gradient, losses = ascent.of(images, masks, asked, fitted, share)
            gradient = threat.project(gradient, masks[:1])
            if optimizer == "adam":
                step = adam_step(fitted, gradient, step_size, norm)
            else:
                step = threat.step(gradient, masks[:1], step_size, norm)
            delta = fitted.delta.to(gradient)[None] + step
            delta = threat.confine(delta, masks[:1], epsilon, norm)[0]
            fitted.note(delta, gradient, losses, len(samples))
            log.write(fitted)
            note = f"loss {losses.mean().item():.4f}"
            progress(_STAGE, fitted.done(len(samples)), total, note)
    _warn_if_nothing_moved(fitted)
    history = ", ".join(f"{value:.5g}" for value in fitted.history)
    told = settings | {"epochs": repr(fitted.epoch), "loss_per_epoch": history}
    return UniversalPerturbation(fitted.delta, float(epsilon), norm, told)


@dataclass(frozen=True)
class _Ascent:
    """Computes the gradient of a batch with respect to the universal perturbation."""

    model: Callable[..., Logits]
    loss: Loss
    targeted: bool
    clip: float | None
    threshold: float
    portions: Portions = field(default_factory=Portions)

    def of(
        self,
        images: Images,
        masks: Masks,
        asked: Sequence[Any],  # prompts or None; then boxes and ignored pixels, or None
        fitted: Fitted,
        progress: float,
    ) -> tuple[Float[Tensor, "1 c h w"], PerImage]:
        """The gradient with respect to the perturbation, averaged over images, and their losses."""
        model = self.model if asked[0] is None else Bound(self.model, *asked)
        problem = Problem.of_batch(
            model, images, masks, self.loss, targeted=self.targeted, threshold=self.threshold
        )
        # In the first epoch every batch is new, so its loss is checked for coupled images.
        pulls = partial(
            self._pulls, problem, fitted.delta, progress=progress, first=fitted.epoch == 0
        )
        each = self.portions.run(pulls, range(len(images)))
        gradients, losses = zip(*each, strict=True)
        return torch.stack(gradients).mean(0, keepdim=True), torch.stack(losses)

    def _pulls(
        self, problem: Problem, delta: Tensor, rows: list[int], *, progress: float, first: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Gradient and loss of each of some images."""
        problem = problem.select(torch.isin(problem.rows, torch.tensor(rows)))
        moved = problem.images + delta.to(problem.images)
        point = evaluate_point(
            problem,
            moved.clamp(0.0, 1.0),
            differentiable=True,
            after="of a fit",
            progress=progress,
            first=first,
        )
        gradient = pixel_gradient(problem, point, after="of a fit")
        losses = -point.harm.detach() if self.targeted else point.harm.detach()
        # The clamp and the loss limit are part of the objective; where they are active, the
        # gradient is zero.
        counts = ((moved >= 0) & (moved <= 1)) & self._has_a_say(losses).view(-1, 1, 1, 1)
        return zip(torch.where(counts, gradient, 0.0), losses, strict=True)

    def _has_a_say(self, losses: PerImage) -> Bool[Tensor, " b"]:
        if self.clip is None:
            return torch.ones_like(losses, dtype=torch.bool)
        return losses > self.clip if self.targeted else losses < self.clip


def _apart(loss: Loss) -> dict[str, str]:
    """Settings that distinguish a loss from others of its name: its parameters and source code.

    Empty for a loss of palpate with default parameters.
    """
    name, text = getattr(loss, "__name__", type(loss).__name__), text_of(loss)
    function = loss.func if isinstance(loss, partial) else loss
    source = source_of(function if isinstance(function, FunctionType) else type(function))
    usual = text == f"<function {name}>" or (
        is_dataclass(loss) and all(getattr(loss, f.name) == f.default for f in fields(loss))
    )
    if usual and source is None:
        return {}
    return {"loss_is": text if source is None else f"{text}, source {source}"}


def _start(
    samples: Sequence[FitBatch],
    epsilon: float,
    norm: Norm,
    threat: Threat,
    random_start: bool,
    seed: int,
) -> Fitted:
    images, masks, *_ = samples[0]
    like, place = torch.zeros_like(images[:1], device="cpu"), masks[:1].cpu()
    if not random_start:
        return Fitted(like[0])
    delta = random_in_ball(like, epsilon, norm, generator(seed, _STAGE, "start"))
    return Fitted(threat.confine(delta, place, epsilon, norm)[0])


def _order(count: int, seed: int, epoch: int) -> list[int]:
    random = generator(seed, _STAGE, "order", epoch)
    order: list[int] = torch.randperm(count, generator=random).tolist()
    return order


def _check(
    samples: Sequence[FitBatch],
    epsilon: float,
    epochs: int,
    step_size: float | None,
    optimizer: str,
    threat: Threat,
) -> None:
    if not len(samples):
        raise ValueError("Expected batches to fit a perturbation to, got none.")
    if not epsilon > 0:
        raise ValueError(f"Expected epsilon > 0, got {epsilon}.")
    if epochs < 1:
        raise ValueError(f"Expected epochs >= 1, got {epochs}.")
    check_schedule(1, 1, step_size)
    if optimizer not in ("sign", "adam"):
        raise ValueError(f"Expected optimizer 'sign' or 'adam', got {optimizer!r}.")
    for constraint in threat.constraints:
        if isinstance(constraint, Inside | Outside):
            raise ValueError(
                f"Expected a threat model that is the same for all images, got {constraint}; "
                "apply it when the perturbation is added: universal(..., within='inside')."
            )
    if threat.lattice:
        raise ValueError(
            "Expected a threat model without the 8-bit lattice, got one with it; apply it when "
            "the perturbation is added: universal(..., within='lattice')."
        )


def _refuse_beyond(fitted: Fitted, epochs: int, state: Path | str | None) -> None:
    if (fitted.epoch, fitted.batch) > (epochs, 0):
        done = f"{fitted.epoch} epochs" + (f" and {fitted.batch} batches" if fitted.batch else "")
        raise ValueError(
            f"Expected a state of at most {epochs} epochs, those asked for, got {done} in {state}; "
            "ask for as many or more, or choose another state file."
        )


def _check_batch(images: Images, masks: Masks, delta: Tensor, epsilon: float, norm: str) -> None:
    check_images(images, masks)
    check_ball(epsilon, norm, images)
    if images.shape[1:] != delta.shape:
        raise ValueError(
            f"Expected batches of one size, {tuple(delta.shape)} as the first, got "
            f"{tuple(images.shape[1:])}; load the data with size=..."
        )


def _warn_if_nothing_moved(fitted: Fitted) -> None:
    if not fitted.moved:
        warnings.warn(
            "The gradient was zero at every pixel for every batch, so nothing was fitted. Low "
            "damage is then no sign of robustness: try loss=margin, a higher clip, or look for "
            "rounding and saturation in the model.",
            ZeroGradientWarning,
            stacklevel=4,  # this function, fit_universal, torch's no_grad: then the caller
        )
