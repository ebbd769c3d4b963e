"""SPSA and NES: the gradient, estimated from how the loss changes along random directions."""

from contextlib import suppress
from typing import Literal, TypeAlias

import torch
from torch import Generator

from palpate.attacks.black_box.query_loop import Answer, NoQueriesLeftError, Walk, pursue
from palpate.attacks.core.checks import check_ball, check_images, check_schedule, check_search
from palpate.attacks.core.draws import one_per_image
from palpate.attacks.core.gradient_step import climb, is_flat, warn_if_flat
from palpate.attacks.core.problem import Problem
from palpate.attacks.gradient.pgd import default_step_size
from palpate.attacks.losses import bce_dice
from palpate.attacks.threats import ANYWHERE, Threat, Within, threat_model
from palpate.geometry import norms
from palpate.types import Images, LogitsFn, Loss, Masks, Norm, Randomness

Directions: TypeAlias = Literal["signs", "gaussian"]

_PAIRS_AT_ONCE = 16  # per image, so that memory does not grow with the number of samples


@torch.no_grad()
def spsa(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    queries: int = 1000,
    samples: int = 32,
    directions: Directions = "signs",
    probe: float = 0.01,
    step_size: float | None = None,
    momentum: float = 0.9,
    norm: Norm = "linf",
    loss: Loss = bce_dice,
    targeted: bool = False,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
    keep: Literal["dice", "loss"] = "dice",
    early_stop: bool = False,
) -> Images:
    r"""Gradient ascent by forward passes alone, as SPSA or as NES.

    Each step estimates the gradient of the loss from ``samples`` queries in opposite pairs,

    .. math:: g = \frac{1}{n} \sum_{i=1}^{n} \frac{L(x + c u_i) - L(x - c u_i)}{2 c} u_i,

    steps along it as PGD does, and looks at where it has come. With ``directions="signs"``,
    :math:`u` of plus or minus one, this is SPSA (Uesato et al., 2018,
    https://arxiv.org/abs/1802.05666) with the step of PGD in place of Adam; with ``"gaussian"``
    it is NES with antithetic sampling (Ilyas et al., 2018, https://arxiv.org/abs/1804.08598).
    Rounding in the model does not stop it as long as ``probe`` reaches beyond a level.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound. Neither it nor its
            parts need a gradient. If it holds something per image, it must be a ``partial`` with
            ``prompts`` or :class:`~palpate.attacks.Selectable`: it is asked for an image several
            times in one pass.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        queries: Forward passes per image, exactly. Those left over when the last whole step is
            done go into a smaller one.
        samples: Queries for one estimate; even. Noise in the estimate falls with its root.
        directions: Distribution of the directions :math:`u`.
        probe: Distance :math:`c` of the queries, in units of pixel value. They are clipped to
            [0, 1] and may leave the ball; what is returned never does.
        step_size: Length of one step, see :func:`palpate.attacks.default_step_size`.
        momentum: Share of the earlier estimates, each of unit length, that is carried on; in
            [0, 1).
        norm: Norm of the ball. Colour channels and pixels count as one vector per image.
        loss: Quantity to maximise, one value per image.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        within: Where and how the perturbation may differ from the image, see
            :func:`~palpate.attacks.threats.threat_model`. The queries of an estimate keep
            to its places and patterns, and may lie between the points of the 8-bit lattice.
        generator: See :func:`palpate.attacks.square`.
        threshold: See :func:`palpate.attacks.square`.
        keep: Which iterate an image gets back: that of the lowest Dice score with ``masks``
            (highest, if targeted), equals by the loss, or that of the highest loss.
        early_stop: See :func:`palpate.attacks.square`.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, budgets, logits or loss are not as described.
        FloatingPointError: If a loss is not finite.

    Warns:
        ZeroGradientWarning: If the loss did not change along any direction from some image.
    """
    check_images(images, masks)
    check_ball(epsilon, norm, images)
    check_search(queries, 3, keep, early_stop)
    _check_estimate(samples, directions, probe, momentum)
    if step_size is None:
        step_size = default_step_size(epsilon, max(1, queries // (samples + 1)), norm)
    check_schedule(1, 1, step_size if epsilon > 0 else None)
    threat = threat_model(within)
    threat.check(images, epsilon, norm)
    problem = Problem(model, images, masks, loss, targeted, torch.arange(len(images)), threshold)
    walks = [
        _walk(
            image[None],
            mask[None],
            threat,
            queries=queries,
            samples=samples,
            directions=directions,
            probe=probe,
            step_size=step_size,
            momentum=momentum,
            epsilon=epsilon,
            norm=norm,
            early_stop=early_stop,
            random=random,
        )
        for image, mask, random in zip(
            images, masks, one_per_image(generator, len(images)), strict=True
        )
    ]
    ends = pursue(problem, walks, queries=queries, threshold=threshold, by_loss=keep == "loss")
    found, flat = zip(*ends, strict=True)
    warn_if_flat(torch.tensor(flat))
    return torch.cat(found)


def _walk(
    image: Images,
    mask: Masks,
    threat: Threat,
    *,
    queries: int,
    samples: int,
    directions: Directions,
    probe: float,
    step_size: float,
    momentum: float,
    epsilon: float,
    norm: Norm,
    early_stop: bool,
    random: Generator,
) -> Walk[tuple[Images, bool]]:
    """Where the walk did most harm, and whether an estimate was zero."""
    point = found = image
    carried, was_flat = torch.zeros_like(image), False
    best: Answer | None = None
    with suppress(NoQueriesLeftError):
        while not (early_stop and best is not None and best.is_worst):
            # One query is kept for looking at the next iterate; with none for a pair the
            # direction stays, so that the budget is used up to the last query.
            pairs = min(samples, queries - 1) // 2
            if pairs > 0:
                estimate = yield from _estimate(
                    point, mask, threat, pairs, directions, probe, random
                )
                was_flat |= bool(is_flat(estimate))
                carried = momentum * carried + estimate / norms(estimate, "l2").clamp_min(1e-30)
            point = climb(
                image, point, carried, mask,
                step_size=step_size, epsilon=epsilon, norm=norm, threat=threat,
            )  # fmt: skip
            (answer,) = yield point
            queries -= 2 * max(pairs, 0) + 1
            if best is None or answer > best:
                found, best = point, answer
    return found, was_flat


def _estimate(
    point: Images,
    mask: Masks,
    threat: Threat,
    pairs: int,
    directions: Directions,
    probe: float,
    random: Generator,
) -> Walk[Images]:
    """The gradient at a point, up to a positive factor."""
    estimate = torch.zeros_like(point)
    for first in range(0, pairs, _PAIRS_AT_ONCE):
        some = min(_PAIRS_AT_ONCE, pairs - first)
        shape = (some, *point.shape[1:])
        drawn = torch.randn(shape, generator=random).to(point)
        offsets = drawn if directions == "gaussian" else torch.where(drawn < 0, -1.0, 1.0)
        # What pixels do that may not change would be noise in the estimate.
        offsets = threat.project(offsets.to(point), mask.expand(some, -1, -1, -1))
        around = torch.cat([point + probe * offsets, point - probe * offsets]).clamp(0.0, 1.0)
        answers = yield around
        harms = torch.tensor([answer.harm for answer in answers], dtype=torch.float64)
        rises = (harms[:some] - harms[some:]).to(point)
        estimate += (rises.view(-1, 1, 1, 1) * offsets).sum(0, keepdim=True)
    return estimate / (2 * probe * pairs)


def _check_estimate(samples: int, directions: str, probe: float, momentum: float) -> None:
    if samples < 2 or samples % 2:
        raise ValueError(f"Expected an even number of samples >= 2, got {samples}.")
    if directions not in ("signs", "gaussian"):
        raise ValueError(f"Expected directions 'signs' or 'gaussian', got {directions!r}.")
    if not 0 < probe <= 1:
        raise ValueError(f"Expected a probe in (0, 1], got {probe}; pixels lie in [0, 1].")
    if not 0 <= momentum < 1:
        raise ValueError(f"Expected a momentum in [0, 1), got {momentum}.")
