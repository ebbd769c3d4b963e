"""MedIS: attack with several losses separately, and keep the quickest success of each image."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from palpate.attacks.core.checks import check_ball, check_images, check_schedule
from palpate.attacks.core.gradient_step import warn_if_flat
from palpate.attacks.losses import LOSSES, MEDIS, NOTEBOOK
from palpate.attacks.medis.notebook_model import as_in_notebooks
from palpate.attacks.medis.parallel_losses import fewest_steps, name_of, run_losses
from palpate.attacks.medis.success_rules import Criterion, success_rules
from palpate.attacks.medis.targets import Bank, TargetName, target_masks
from palpate.attacks.threats import ANYWHERE, Within, threat_model
from palpate.types import Images, LogitsFn, Loss, Masks, Randomness

MEDIS_LOSSES = (
    "log_cosh_dice",
    "bce_dice",
    "exponential_log",
    "structure",
    "lovasz_hinge",
    "medis_mix",
)
"""The six losses, in the order of the published tables."""

RADIUS = 10 / 255
"""Default epsilon: ten steps of one grey level."""


@torch.no_grad()
def medis(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float = RADIUS,
    steps: int = 10,
    step_size: float | None = None,
    losses: Sequence[str | Loss] = MEDIS_LOSSES,
    targeted: bool = False,
    target: TargetName | Tensor | None = None,
    bank: Bank | None = None,
    criterion: Criterion = "miou",
    success: float | None = None,
    copies: int | None = None,
    faithful: bool = False,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
) -> Images:
    """MedIS (Shukla, Gupta & Gupta, 2023, https://doi.org/10.1007/s11042-023-15575-8).

    For each loss, the attack starts from the clean image and takes steps of one grey level along
    the sign of the gradient. Each image gets the result of the loss that succeeded in the fewest
    steps; of several such losses, the one with the best score. If none succeeded, it gets the
    result with the best score. The number of steps is the size of the perturbation in grey levels,
    so the attack searches for the smallest perturbation that suffices.

    A step costs one forward and one backward pass per loss, and the last point one forward pass. An
    image is finished when the first loss has succeeded on it.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, see :func:`palpate.attacks.pgd`.
            If it holds data per image, it must be a ``partial`` with ``prompts`` or
            :class:`~palpate.attacks.Selectable`.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the L-infinity ball, in units of pixel value. It bounds the perturbation
            whatever the number of steps.
        steps: Maximum number of updates.
        step_size: Length of one step, in the units of ``epsilon``; by default 1/255.
        losses: Names, see :data:`palpate.attacks.LOSSES`, or functions; one run each.
        targeted: Whether ``masks`` are the target masks instead of the ground truth.
        target: Target mask for an attack in which ``masks`` are the ground truth, see
            :func:`palpate.attacks.medis.targets.target_masks`. Images whose ground truth equals
            the target are not attacked.
        bank: Masks that a random or nearest target is chosen from.
        criterion: ``"miou"``, mean IoU of foreground and background, or ``"dice"``.
        success: With a target, an attack succeeds if the score with the target is at least this,
            by default 0.45 (DSC: 0.5). Without one, it succeeds if the score with the ground truth
            is at most this, by default 0.5.
        copies: Losses per batch, see :func:`palpate.attacks.medis.parallel_losses.run_losses`.
        faithful: Reproduce the published notebooks, including their defects, see
            :mod:`palpate.attacks.medis.success_rules`, and their view of the model, see
            :mod:`palpate.attacks.medis.notebook_model`: give images of their own size. A clean
            image that already counts as a
            success is returned unchanged.
        within: Threat model: which pixels the perturbation may change and how, see
            :func:`~palpate.attacks.threats.threat_model`. It refers to ``masks``. Refused with
            ``faithful``, because the notebooks have no threat models.
        generator: Draws random targets; on the CPU, one for the batch or one per image.
        threshold: Logits above it are foreground.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, budgets, losses, target, bank or logits are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from a loss to the pixels.

    Warns:
        ZeroGradientWarning: If no loss succeeded on an image, and the gradient of every one of
            them was zero everywhere at some step.
    """
    check_images(images, masks)
    check_ball(epsilon, "linf", images)
    check_schedule(steps, 1, step_size)
    if targeted and target is not None:
        raise ValueError(
            "Expected either targeted=True, if the masks are the target, or target=..., if the "
            "masks are the ground truth, got both."
        )
    threat = threat_model(within)
    threat.check(images, epsilon, "linf")
    if faithful and not threat.is_bare:
        raise ValueError(
            "Expected no threat model with faithful=True, because the notebooks have none, got "
            f"{within!r}."
        )
    named = losses_by_name(losses, faithful=faithful)
    judged = success_rules(
        targeted=targeted or target is not None,
        epsilon=epsilon,
        steps=steps,
        step_size=step_size,
        criterion=criterion,
        success=success,
        threshold=threshold,
        faithful=faithful,
        doubled=isinstance(target, str) and target in ("white", "black"),
    )
    references, skipped = [masks] * len(named), None
    if target is not None:
        references = _references(target, masks, bank, generator, len(named), faithful)
        skipped = torch.stack([(each == masks).flatten(1).all(1).cpu() for each in references])
    if faithful:
        model = as_in_notebooks(model, all_maps=are_published(named))
    runs = run_losses(
        model, images, references, named, judged,
        skipped=skipped, copies=copies, until_first=True, threat=threat, masks=masks,
    )  # fmt: skip
    stuck = torch.stack([run.flat & ~run.success for run in runs])
    warn_if_flat(stuck.all(0))  # no warning for images that another loss could move
    winners = fewest_steps(runs, judged)
    return torch.stack([runs[place].images[image] for image, place in enumerate(winners)])


def losses_by_name(losses: Sequence[str | Loss], *, faithful: bool = False) -> dict[str, Loss]:
    """Losses by name, in the given order.

    Args:
        losses: Names, see :data:`palpate.attacks.LOSSES`, or functions.
        faithful: Under the six names of MedIS, use the losses as the notebooks compute them.

    Raises:
        ValueError: If there is no loss, an unknown loss, or two losses of the same name.
    """
    if isinstance(losses, str) or not len(losses):
        raise ValueError(f"Expected a sequence of losses, at least one, got {losses!r}.")
    known = _known(faithful)
    for loss in losses:
        if isinstance(loss, str) and loss not in known:
            raise ValueError(f"There is no loss {loss!r}; expected one of {', '.join(known)}.")
    names = [loss if isinstance(loss, str) else name_of(loss) for loss in losses]
    if len(set(names)) < len(names):
        raise ValueError(f"Expected losses of different names, got {', '.join(names)}.")
    found = (known[loss] if isinstance(loss, str) else loss for loss in losses)
    return dict(zip(names, found, strict=True))


def are_published(losses: Mapping[str, Loss]) -> bool:
    """Whether all losses are those of the notebooks, which use all maps of a network."""
    return all(loss in NOTEBOOK.values() for loss in losses.values())


def _known(faithful: bool) -> Mapping[str, Loss]:
    # The two sets have the same order.
    published = dict(zip(MEDIS, NOTEBOOK.values(), strict=True))
    return {**LOSSES, **published} if faithful else LOSSES


def _references(
    target: TargetName | Tensor,
    masks: Masks,
    bank: Bank | None,
    generator: Randomness,
    count: int,
    faithful: bool,
) -> list[Masks]:
    """The target masks of each loss: the same for all losses, except under defect 5."""
    if faithful and isinstance(target, str) and target == "random":
        return [target_masks(target, masks, bank=bank, generator=generator) for _ in range(count)]
    return [target_masks(target, masks, bank=bank, generator=generator)] * count
