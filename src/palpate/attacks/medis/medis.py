"""MedIS: several losses, each on its own, and for each image the one that was quickest."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from palpate.attacks.core.checks import check_ball, check_images, check_schedule
from palpate.attacks.core.gradient_step import warn_if_flat
from palpate.attacks.losses import LOSSES, MEDIS, NOTEBOOK
from palpate.attacks.medis.parallel_losses import fewest_steps, race
from palpate.attacks.medis.side_by_side import name_of
from palpate.attacks.medis.success_rules import Criterion, rules
from palpate.attacks.medis.targets import Bank, TargetName, aim_at
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

    From the clean image every loss takes steps of one grey level along the sign of its gradient.
    Each image gets back what the loss that succeeded in the fewest steps made of it, of equals
    the one with the better score; where none succeeded, what came nearest. The number of steps
    is the perturbation in grey levels, so this looks for the smallest one that suffices.

    A step costs a forward and a backward pass for each loss, and the last point a forward pass;
    an image is done with when its first loss has succeeded.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, see :func:`palpate.attacks.pgd`.
            Where it holds something per image, it must be a ``partial`` with ``prompts`` or
            :class:`~palpate.attacks.Selectable`.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the L-infinity ball, which is not left however many the steps are.
        steps: Updates, at most.
        step_size: Length of one, in the units of ``epsilon``; by default 1/255.
        losses: Names, see :data:`palpate.attacks.LOSSES`, or functions; each has a run of its own.
        targeted: Take ``masks`` for what the attacker wants to see.
        target: What the attacker wants to see, where ``masks`` are the truth, see
            :func:`palpate.attacks.medis.targets.aim_at`. Images whose mask it is are left as
            they are.
        bank: Masks to choose a target from.
        criterion: ``"miou"``, mean IoU of foreground and background, or ``"dice"``.
        success: Score with the target from which on an attack has succeeded, by default 0.45
            (DSC: 0.5); without a target, score with the truth down from which, by default 0.5.
        copies: Losses at once, see :func:`palpate.attacks.medis.parallel_losses.race`.
        faithful: Do all as the published notebooks do it, see
            :mod:`palpate.attacks.medis.success_rules`. An image that succeeds as it is comes back
            as it is.
        within: Where and how the perturbation may differ from the image, see
            :func:`~palpate.attacks.threats.threat_model`. Its places are those of
            ``masks``. Not with ``faithful``: the notebooks know of none.
        generator: For random targets; on the CPU, one for the batch or one per image.
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
            "Expected targeted=True, where the masks are the target, or target=..., where they "
            "are the truth, got both."
        )
    threat = threat_model(within)
    threat.check(images, epsilon, "linf")
    if faithful and not threat.is_bare:
        raise ValueError(
            "Expected no threat model with faithful=True, for the notebooks have none, got "
            f"{within!r}."
        )
    named = losses_by_name(losses, faithful=faithful)
    judged = rules(
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
    aims, skipped = [masks] * len(named), None
    if target is not None:
        aims = _aims(target, masks, bank, generator, len(named), faithful)
        skipped = torch.stack([(aim == masks).flatten(1).all(1).cpu() for aim in aims])
    runs = race(
        model, images, aims, named, judged,
        skipped=skipped, copies=copies, until_first=True, threat=threat, masks=masks,
    )  # fmt: skip
    stuck = torch.stack([run.flat & ~run.success for run in runs])
    warn_if_flat(stuck.all(0))  # where another loss could move, all is well
    winners = fewest_steps(runs, judged)
    return torch.stack([runs[place].images[image] for image, place in enumerate(winners)])


def losses_by_name(losses: Sequence[str | Loss], *, faithful: bool = False) -> dict[str, Loss]:
    """Losses with their names, in order.

    Args:
        losses: Names, see :data:`palpate.attacks.LOSSES`, or functions.
        faithful: Give what the notebooks compute under the names of the six of MedIS.

    Raises:
        ValueError: If there is no loss, no such loss, or two of one name.
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


def _known(faithful: bool) -> Mapping[str, Loss]:
    # The two sets have the same order.
    published = dict(zip(MEDIS, NOTEBOOK.values(), strict=True))
    return {**LOSSES, **published} if faithful else LOSSES


def _aims(
    target: TargetName | Tensor,
    masks: Masks,
    bank: Bank | None,
    generator: Randomness,
    count: int,
    faithful: bool,
) -> list[Masks]:
    """For each loss what to aim at: the same, but by defect 5 a random mask is drawn for each."""
    if faithful and isinstance(target, str) and target == "random":
        return [aim_at(target, masks, bank=bank, generator=generator) for _ in range(count)]
    return [aim_at(target, masks, bank=bank, generator=generator)] * count
