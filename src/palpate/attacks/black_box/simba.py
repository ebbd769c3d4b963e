"""SimBA: tries the vectors of an orthonormal basis one by one, with both signs."""

from collections.abc import Iterator
from contextlib import suppress
from math import ceil, pi, sqrt
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from palpate.attacks.black_box.query_loop import NoQueriesLeftError, Walk, one_by_one, run_walks
from palpate.attacks.core.checks import check_inputs, check_queries, check_schedule
from palpate.attacks.core.problem import Problem
from palpate.attacks.losses import margin
from palpate.attacks.threats import ANYWHERE, Threat, Within
from palpate.types import Images, LogitsFn, Loss, Masks, Norm, Randomness

Basis: TypeAlias = Literal["dct", "pixel"]


@torch.no_grad()
def simba(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    queries: int = 1000,
    basis: Basis = "dct",
    frequencies: float = 0.125,
    step_size: float | None = None,
    norm: Norm = "linf",
    loss: Loss = margin,
    targeted: bool = False,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
    keep: Literal["dice", "loss"] = "dice",
    early_stop: bool = False,
) -> Images:
    """Simple black-box attack (SimBA, Guo et al., 2019, https://arxiv.org/abs/1905.07121).

    Tries the vectors of an orthonormal basis in random order. Each vector is added and, if that
    does no harm, subtracted. A change is kept if it lowers the Dice score or, at an equal score,
    raises the loss. The paper bounds only the number of vectors; here every candidate is projected
    on the ball. The published code subtracts first and then adds.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound. No gradient
            is needed.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        queries: Forward passes per image, exactly; the first evaluates the clean image.
        basis: ``"dct"``: cosine waves over the image, in one channel each; ``"pixel"``: single
            values.
        frequencies: Fraction of the frequencies along each side that ``"dct"`` uses, starting from
            the lowest; in (0, 1].
        step_size: L2 length of a vector, in units of pixel value. By default such that
            ``queries / 2`` orthogonal steps reach the farthest point of the ball.
        norm: Norm of the ball, over all channels and pixels of an image.
        loss: Loss that compares points of equal Dice score, one value per image.
        targeted: Search towards ``masks`` instead of away from them.
        within: Threat model: which pixels the perturbation may change and how, see
            :func:`~palpate.attacks.threats.threat_model`. Each vector is projected on it and
            rescaled to its length; on the 8-bit lattice only its largest values change.
        generator: See :func:`palpate.attacks.square`.
        threshold: See :func:`palpate.attacks.square`.
        keep: See :func:`palpate.attacks.square`.
        early_stop: See :func:`palpate.attacks.square`.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, budgets, logits or loss are not as described.
        FloatingPointError: If a loss is not finite.
    """
    threat = check_inputs(images, masks, epsilon, norm, within)
    check_queries(queries, 2, keep, early_stop)
    _check_basis(basis, frequencies)
    if step_size is None:
        # n orthogonal steps of length s reach a distance of s * sqrt(n).
        reach = epsilon if norm == "l2" else epsilon * sqrt(images[0].numel())
        step_size = reach / sqrt(queries / 2)
    check_schedule(1, 1, step_size if epsilon > 0 else None)
    problem = Problem.of_batch(model, images, masks, loss, targeted=targeted, threshold=threshold)
    walks = [
        _walk(
            image,
            mask,
            _steps(_vectors(image, basis, frequencies, random), mask, step_size, threat),
            threat,
            epsilon=epsilon,
            norm=norm,
            early_stop=early_stop,
        )
        for image, mask, random in one_by_one(images, masks, generator)
    ]
    found = run_walks(problem, walks, queries=queries, threshold=threshold, by_loss=keep == "loss")
    return torch.cat(found)


def cosine(length: int, frequency: int) -> Float[Tensor, " n"]:
    """One vector of the orthonormal discrete cosine transform (DCT-II)."""
    positions = torch.arange(length, dtype=torch.float64) + 0.5
    wave = torch.cos(pi * frequency * positions / length)
    return wave * sqrt((1 if frequency == 0 else 2) / length)


def _walk(
    image: Images,
    mask: Masks,
    steps: Iterator[Images],
    threat: Threat,
    *,
    epsilon: float,
    norm: Norm,
    early_stop: bool,
) -> Walk[Images]:
    point = image.clone()
    (best,) = yield point
    with suppress(NoQueriesLeftError):
        for forwards in steps:
            for step in (forwards, -forwards):
                if early_stop and best.is_worst:
                    return point
                candidate = threat.settle(image, point - image + step, mask, epsilon, norm)
                (answer,) = yield candidate
                if answer > best:
                    point, best = candidate, answer
                    break  # the opposite sign would undo this step
    return point


def _steps(
    vectors: Iterator[Images], mask: Masks, step_size: float, threat: Threat
) -> Iterator[Images]:
    """The vectors scaled to the step size, without those that the threat model reduces to zero."""
    skipped = 0
    for vector in vectors:
        step = step_size * vector if threat.is_bare else threat.step(vector, mask, step_size, "l2")
        # There are at most as many vectors as values. If all of them are reduced to zero, one is
        # yielded anyway, so that the walk uses its queries and ends instead of looping forever.
        skipped = 0 if (step != 0).any() else skipped + 1
        if skipped == 0 or skipped > vector.numel() or step_size == 0:
            yield step


def _vectors(
    image: Images, basis: Basis, frequencies: float, random: Generator
) -> Iterator[Images]:
    """The basis in a new random order, repeatedly."""
    channels, height, width = image.shape[1:]
    if basis == "dct":
        height, width = ceil(frequencies * height), ceil(frequencies * width)
    count = channels * height * width
    while True:
        for index in torch.randperm(count, generator=random).tolist():
            channel, place = divmod(index, height * width)
            yield _vector(image, basis, channel, *divmod(place, width))


def _vector(image: Images, basis: Basis, channel: int, row: int, column: int) -> Images:
    vector = torch.zeros_like(image)
    if basis == "pixel":
        vector[:, channel, row, column] = 1.0
    else:
        height, width = image.shape[2:]
        vector[:, channel] = torch.outer(cosine(height, row), cosine(width, column)).to(image)
    return vector


def _check_basis(basis: str, frequencies: float) -> None:
    if basis not in ("dct", "pixel"):
        raise ValueError(f"Expected basis 'dct' or 'pixel', got {basis!r}.")
    if not 0 < frequencies <= 1:
        raise ValueError(f"Expected a share of the frequencies in (0, 1], got {frequencies}.")
