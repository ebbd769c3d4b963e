"""SPSA and NES: gradient ascent with a gradient estimated along random directions."""

from contextlib import suppress
from typing import Literal, TypeAlias

import torch
from torch import Generator

from palpate.attacks.black_box.query_loop import (
    Answer,
    NoQueriesLeftError,
    Walk,
    one_by_one,
    run_walks,
)
from palpate.attacks.core.checks import check_inputs, check_queries, check_schedule
from palpate.attacks.core.gradient_step import is_flat, take_step, warn_if_flat
from palpate.attacks.core.problem import Problem
from palpate.attacks.gradient.pgd import default_step_size
from palpate.attacks.losses import bce_dice
from palpate.attacks.threats import ANYWHERE, Threat, Within
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
    r"""Gradient ascent with an estimated gradient, as SPSA or as NES.

    Each step estimates the gradient of the loss from ``samples`` queries in antithetic pairs,

    .. math:: g = \frac{1}{n} \sum_{i=1}^{n} \frac{L(x + c u_i) - L(x - c u_i)}{2 c} u_i,

    takes a step along it as PGD does, and evaluates the result. With ``directions="signs"``, where
    the values of :math:`u` are plus or minus one, this is SPSA (Uesato et al., 2018,
    https://arxiv.org/abs/1802.05666) with the step of PGD in place of Adam. With ``"gaussian"`` it
    is NES with antithetic sampling (Ilyas et al., 2018, https://arxiv.org/abs/1804.08598). It also
    works on models that round their input, if ``probe`` is larger than a rounding step.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound. No gradient
            is needed. If it holds data per image, it must be a ``partial`` with ``prompts`` or
            :class:`~palpate.attacks.Selectable`, because an image may occur several times in a
            batch.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        queries: Forward passes per image, exactly. If the remaining ones are too few for a whole
            step, they are used for a last step with fewer samples.
        samples: Queries per estimate; even. The noise of the estimate decreases with the square
            root of this number.
        directions: Distribution of the directions :math:`u`.
        probe: Distance :math:`c` of the queries, in units of pixel value, in (0, 1]. Queries are
            clipped to [0, 1] and may leave the ball; the returned images never do.
        step_size: Length of one step, see :func:`palpate.attacks.default_step_size`.
        momentum: Weight of the earlier estimates, each normalised to unit length; in [0, 1).
        norm: Norm of the ball, over all channels and pixels of an image.
        loss: Quantity to maximise, one value per image.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        within: Threat model: which pixels the perturbation may change and how, see
            :func:`~palpate.attacks.threats.threat_model`. The queries of an estimate obey its
            constraints, but need not lie on the 8-bit lattice.
        generator: See :func:`palpate.attacks.square`.
        threshold: See :func:`palpate.attacks.square`.
        keep: Which iterate is returned for an image. ``"dice"``: the one with the lowest Dice
            score (targeted: highest); of equal scores, that with the highest loss (targeted:
            lowest). ``"loss"``: the one with the highest loss (targeted: lowest).
        early_stop: See :func:`palpate.attacks.square`.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, budgets, logits or loss are not as described.
        FloatingPointError: If a loss is not finite.

    Warns:
        ZeroGradientWarning: If some estimate was zero, because the loss changed in no direction.
    """
    threat = check_inputs(images, masks, epsilon, norm, within)
    check_queries(queries, 3, keep, early_stop)
    _check_estimate(samples, directions, probe, momentum)
    if step_size is None:
        step_size = default_step_size(epsilon, max(1, queries // (samples + 1)), norm)
    check_schedule(1, 1, step_size if epsilon > 0 else None)
    problem = Problem.of_batch(model, images, masks, loss, targeted=targeted, threshold=threshold)
    walks = [
        _walk(
            image,
            mask,
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
        for image, mask, random in one_by_one(images, masks, generator)
    ]
    ends = run_walks(problem, walks, queries=queries, threshold=threshold, by_loss=keep == "loss")
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
    """The walk of one image; returns its most harmful iterate, and whether an estimate was zero."""
    point = found = image
    carried, was_flat = torch.zeros_like(image), False
    best: Answer | None = None
    with suppress(NoQueriesLeftError):
        while not (early_stop and best is not None and best.is_worst):
            # One query is kept for evaluating the next iterate. If none is left for a pair, the
            # direction is used again, so that the budget is used up to the last query.
            pairs = min(samples, queries - 1) // 2
            if pairs > 0:
                estimate = yield from _estimate(
                    point, mask, threat, pairs, directions, probe, random
                )
                was_flat |= bool(is_flat(estimate))
                carried = momentum * carried + estimate / norms(estimate, "l2").clamp_min(1e-30)
            point = take_step(
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
    """Estimate the gradient at a point, up to a positive factor."""
    estimate = torch.zeros_like(point)
    for first in range(0, pairs, _PAIRS_AT_ONCE):
        some = min(_PAIRS_AT_ONCE, pairs - first)
        shape = (some, *point.shape[1:])
        drawn = torch.randn(shape, generator=random).to(point)
        offsets = drawn if directions == "gaussian" else torch.where(drawn < 0, -1.0, 1.0)
        # Pixels that may not change would only add noise to the estimate.
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
