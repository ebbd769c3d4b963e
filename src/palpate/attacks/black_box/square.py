"""Square Attack: random search over square-shaped changes, without gradients."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from math import sqrt
from typing import Literal, TypeAlias

import torch
from torch import Generator

from palpate.attacks.black_box import square_l2
from palpate.attacks.black_box.query_loop import NoQueriesLeftError, Walk, one_by_one, run_walks
from palpate.attacks.core.checks import check_inputs, check_queries
from palpate.attacks.core.draws import random_integer
from palpate.attacks.core.problem import Problem
from palpate.attacks.losses import margin
from palpate.attacks.threats import ANYWHERE, Threat, Within
from palpate.geometry import random_direction
from palpate.types import Images, LogitsFn, Loss, Masks, Norm, Randomness

KeepPoint: TypeAlias = Literal["dice", "loss"]

# Fractions of the budget at which squares halve in area (the paper's table for 10 000 queries).
_HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@torch.no_grad()
def square(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    queries: int = 1000,
    share: float = 0.8,
    norm: Norm = "linf",
    loss: Loss = margin,
    targeted: bool = False,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
    keep: KeepPoint = "dice",
    early_stop: bool = False,
) -> Images:
    """Square Attack (Andriushchenko et al., 2020, https://arxiv.org/abs/1912.00049).

    A random search that uses forward passes only. If it does more harm than a gradient attack, the
    model masks its gradient. Each query changes a random square; the change is kept if it does
    harm. ``linf`` starts from vertical stripes of plus or minus epsilon, and each square gets one
    colour whose channels are plus or minus epsilon. ``l2`` starts from a grid of bumps and moves
    length from one square to another. Unlike in the published code, squares can reach every border
    of the image.

    The objective of the paper is the margin of one class. Here a change is kept if it lowers the
    Dice score of the image or, at an equal score, raises the loss.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound. No gradient
            is needed.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        queries: Forward passes per image, exactly; the first evaluates the starting point.
        share: Fraction of the image that the first squares cover, in (0, 1]; it is halved nine
            times.
        norm: Norm of the ball, over all channels and pixels of an image.
        loss: Loss that compares points of equal Dice score, one value per image.
        targeted: Search towards ``masks`` instead of away from them.
        within: Threat model: which pixels the perturbation may change and how, see
            :func:`~palpate.attacks.threats.threat_model`. Each candidate is projected on it and
            rescaled to the full radius. A query has no effect if its square contains no pixel that
            may change.
        generator: On the CPU; one for the batch, or one per image, so that an image gets the same
            random numbers in every batch. ``None`` uses torch's global generator.
        threshold: Logits above it are foreground. It is subtracted from the logits before the
            loss is computed.
        keep: ``"dice"`` accepts changes by Dice score, then loss; ``"loss"`` by the loss alone.
        early_stop: Stop attacking an image once its Dice score is 0 (targeted: 1). If ``model``
            holds data per image, it must be a ``partial`` with ``prompts`` or
            :class:`~palpate.attacks.Selectable`.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, budgets, logits or loss are not as described.
        FloatingPointError: If a loss is not finite.
    """
    threat = check_inputs(images, masks, epsilon, norm, within)
    check_queries(queries, 1, keep, early_stop)
    if not 0 < share <= 1:
        raise ValueError(f"Expected a share of the image in (0, 1], got {share}.")
    problem = Problem.of_batch(model, images, masks, loss, targeted=targeted, threshold=threshold)
    painter = _PAINTERS[norm]
    walks = [
        _walk(
            image,
            mask,
            painter,
            threat,
            epsilon=epsilon,
            norm=norm,
            sizes=lambda query: share_at((query - 1) / queries, share),
            early_stop=early_stop,
            random=random,
        )
        for image, mask, random in one_by_one(images, masks, generator)
    ]
    found = run_walks(problem, walks, queries=queries, threshold=threshold, by_loss=keep == "loss")
    return torch.cat(found)


def share_at(progress: float, first: float) -> float:
    """Fraction of the image that a square covers after a fraction ``progress`` of the budget.

    >>> share_at(0.0, 0.8), share_at(0.01, 0.8), share_at(0.9, 0.512)
    (0.8, 0.2, 0.001)
    """
    return first * 0.5 ** sum(progress > passed for passed in _HALVINGS)


@dataclass(frozen=True)
class _Painter:
    """The functions that make the first perturbation and the next candidates, for one norm."""

    start: Callable[[Images, float, Generator], Images]  # makes the first perturbation
    repaint: Callable[[Images, Images, float, float, Generator], Images]  # makes the next one


def _walk(
    image: Images,
    mask: Masks,
    painter: _Painter,
    threat: Threat,
    *,
    epsilon: float,
    norm: Norm,
    sizes: Callable[[int], float],
    early_stop: bool,
    random: Generator,
) -> Walk[Images]:
    def projected(delta: Images) -> Images:
        return threat.settle(image, threat.whole(delta, mask, epsilon, norm), mask, epsilon, norm)

    delta = painter.start(image, epsilon, random)
    point = projected(delta)
    (best,) = yield point
    with suppress(NoQueriesLeftError):
        for query in count(1):
            if early_stop and best.is_worst:
                break
            changed = painter.repaint(image, delta, sizes(query), epsilon, random)
            candidate = projected(changed)
            (answer,) = yield candidate
            if answer > best:
                delta, point, best = changed, candidate, answer
    return point


def _stripes(image: Images, epsilon: float, random: Generator) -> Images:
    return epsilon * random_direction(image[:, :, :1], "linf", random).expand_as(image)


def _repaint(
    image: Images, delta: Images, share: float, epsilon: float, random: Generator
) -> Images:
    height, width = image.shape[2:]
    side = min(max(1, round(sqrt(share * height * width))), height, width)
    top, left = (random_integer(length - side + 1, random) for length in (height, width))
    colour = epsilon * random_direction(image[:, :, :1, :1], "linf", random)
    changed = delta.clone()
    window = changed[:, :, top : top + side, left : left + side]
    # Painting the colour that the square already has would waste a query on a known point.
    window.copy_(-colour if (window == colour).all() else colour)
    return changed


_PAINTERS: dict[Norm, _Painter] = {
    "linf": _Painter(_stripes, _repaint),
    "l2": _Painter(square_l2.start, square_l2.move),
}
