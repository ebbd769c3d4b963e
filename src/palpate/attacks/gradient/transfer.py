"""Transfer attack: computed on a surrogate model, evaluated on another model (the victim)."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import torch

from palpate.attacks.core.checks import check_inputs, check_schedule
from palpate.attacks.core.draws import generators_per_image
from palpate.attacks.core.gradient_step import (
    evaluate_point,
    is_flat,
    pixel_gradient,
    take_step,
    warn_if_flat,
)
from palpate.attacks.core.problem import Problem
from palpate.attacks.core.selection import boxes_of, ignored_of, prompts_of
from palpate.attacks.gradient.input_diversity import blurred, draw_places, with_shrunk_input
from palpate.attacks.losses import bce_dice
from palpate.attacks.threats import ANYWHERE, Within
from palpate.prompting import Bound, without_ignored
from palpate.types import Images, Logits, LogitsFn, Loss, Masks, Norm, Randomness

Surrogate: TypeAlias = Callable[..., Logits]


@torch.no_grad()
def transfer(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    surrogate: Surrogate | None = None,
    steps: int = 10,
    step_size: float | None = None,
    norm: Norm = "linf",
    loss: Loss = bce_dice,
    targeted: bool = False,
    momentum: float = 1.0,
    diversity: float = 0.0,
    smallest: float = 0.9,
    kernel: int = 1,
    scales: int = 1,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
) -> Images:
    r"""PGD with four methods that improve the transfer of attacks to other models.

    - *MI*, momentum (Dong et al., 2018, https://arxiv.org/abs/1710.06081):
      :math:`m \leftarrow \mu m + g / \lVert g \rVert_1`, and the step follows :math:`m`.
    - *DI*, diverse inputs (Xie et al., 2019, https://arxiv.org/abs/1803.06978): with some
      probability the surrogate is given the image shrunk, at a random position on a black image of
      the original size; the logits are mapped back before the loss is computed.
    - *TI*, translation invariance (Dong et al., 2019, https://arxiv.org/abs/1904.02884): the
      gradient is convolved with a Gaussian.
    - *SI*, scale invariance (Lin et al., 2020, https://arxiv.org/abs/1908.06281): the gradient is
      averaged over the images times 1, 1/2, 1/4, ... .

    With ``momentum=0``, ``diversity=0``, ``kernel=1`` and ``scales=1`` this is
    ``pgd(random_start=False, keep="last")`` at the same step size. It starts from the clean
    image and returns the last iterate, because the worst iterate for the surrogate need not be the
    worst for the victim. The victim is never called; the passes reported in a result row are those
    of the surrogate.

    Args:
        model: The victim. It is not called; if it has prompts bound (``partial(model,
            prompts=...)``), the surrogate is called with the same prompts.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        surrogate: The model that gives the gradient, called like the victim: ``surrogate(images,
            prompts=...)`` if there are prompts. None uses the victim itself, as a white-box
            attack.
        steps: Updates.
        step_size: Length of one step; by default ``epsilon / steps``, as published for MI.
        norm: Norm of the ball.
        loss: Quantity to maximise, one value per image, see :mod:`palpate.attacks.losses`.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        momentum: :math:`\mu`; 0 for none, 1 as published.
        diversity: Probability of a shrunk input, per image, step and scale, in [0, 1]; published
            values are 0.5 to 0.7.
        smallest: Smallest side of the shrunk image, as a fraction of the original, in (0, 1).
        kernel: Side of the Gaussian in pixels, odd; 1 for none. The published value is 15; 5 to 7
            suit images whose fine texture matters.
        scales: Number of scaled images to average over; 1 for none, 5 as published.
        within: Threat model: which pixels the perturbation may change and how, see
            :func:`~palpate.attacks.threats.threat_model`.
        generator: On the CPU; one for the batch, or one per image.
        threshold: Logits of the victim above it are foreground. It is subtracted from the logits
            before the loss is computed. A surrogate may declare another one as
            ``threshold_logit``.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, budgets, options, logits or loss are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        ZeroGradientWarning: If the gradient of an image was zero everywhere at some step.
    """
    threat = check_inputs(images, masks, epsilon, norm, within)
    check_schedule(steps, 1, step_size)
    _check_options(momentum, diversity, smallest, kernel, scales)
    step_size = epsilon / steps if step_size is None else step_size

    called = _with_prompts_of_victim(surrogate, model)
    if surrogate is not None:
        # The loss is computed on logits of the surrogate, so the surrogate's threshold applies.
        threshold = float(getattr(surrogate, "threshold_logit", 0.0))
    problem = Problem.of_batch(called, images, masks, loss, targeted=targeted, threshold=threshold)
    generators = generators_per_image(generator, len(images)) if diversity > 0 else None
    adversarial, memory = images.clone(), torch.zeros_like(images)
    flat = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for step in range(steps):
        after = f"after {step} of {steps} steps"
        gradient = torch.zeros_like(images)
        for scale in range(scales):
            called = problem.model
            if generators is not None:
                called = with_shrunk_input(called, draw_places(generators, diversity, smallest))
            scaled = partial(_on_scaled, called, 0.5**scale) if scale else called
            # Once more, since shrinking the input moves the logits.
            counted = partial(_without_ignored, scaled, ignored_of(model))
            varied = replace(problem, model=counted if generators is not None else scaled)
            point = evaluate_point(
                varied, adversarial, differentiable=True, after=after, progress=step / steps
            )
            gradient += pixel_gradient(varied, point, after=after) / scales
        # Checked before momentum, which would hide a gradient of zero.
        flat |= is_flat(threat.project(gradient, masks))
        gradient = blurred(gradient, kernel)
        if momentum > 0:
            memory = momentum * memory + _l1_normalised(gradient)
            gradient = memory
        adversarial = take_step(
            images, adversarial, gradient, masks,
            step_size=step_size, epsilon=epsilon, norm=norm, threat=threat,
        )  # fmt: skip
    warn_if_flat(flat)
    return adversarial


def _on_scaled(model: LogitsFn, scale: float, images: Images) -> Logits:
    return model(scale * images)


def _without_ignored(model: LogitsFn, ignored: Masks | None, images: Images) -> Logits:
    return without_ignored(model(images), ignored)


def _l1_normalised(gradient: Images) -> Images:
    lengths = gradient.abs().flatten(1).sum(1).view(-1, 1, 1, 1)
    return gradient / lengths.clamp_min(torch.finfo(gradient.dtype).tiny)


def _with_prompts_of_victim(surrogate: Surrogate | None, victim: LogitsFn) -> LogitsFn:
    """The surrogate, bound to the prompts and boxes of the victim if there are any."""
    if surrogate is None:
        return victim
    prompts = prompts_of(victim)
    if prompts is None:
        return surrogate
    return Bound(surrogate, prompts, boxes_of(victim), ignored_of(victim))


def _check_options(
    momentum: float, diversity: float, smallest: float, kernel: int, scales: int
) -> None:
    if not momentum >= 0:
        raise ValueError(f"Expected momentum >= 0, got {momentum}.")
    if not 0 <= diversity <= 1:
        raise ValueError(f"Expected diversity, a probability in [0, 1], got {diversity}.")
    if not 0 < smallest < 1:
        raise ValueError(f"Expected smallest, a share of the side in (0, 1), got {smallest}.")
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"Expected an odd kernel >= 1, got {kernel}.")
    if scales < 1:
        raise ValueError(f"Expected scales >= 1, got {scales}.")
