"""SimBA: tries one direction of an orthonormal basis after the other, forwards and backwards."""

from collections.abc import Iterator
from contextlib import suppress
from math import ceil, pi, sqrt
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from palpate.attacks.black_box.query_loop import NoQueriesLeftError, Walk, pursue
from palpate.attacks.core.checks import check_ball, check_images, check_schedule, check_search
from palpate.attacks.core.draws import one_per_image
from palpate.attacks.core.problem import Problem
from palpate.attacks.losses import margin
from palpate.attacks.threats import ANYWHERE, Threat, Within, threat_model
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

    Takes the vectors of an orthonormal basis in random order and adds or else subtracts each of
    them where that does harm: lowers the Dice score or, where it is equal, raises the loss. The
    paper bounds only the number of vectors; here every candidate is brought back to the ball. The
    published code subtracts first.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound. Neither it nor its
            parts need a gradient.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        queries: Forward passes per image, exactly; the first one looks at the clean image.
        basis: ``"dct"``: cosine waves across the image, one channel each; ``"pixel"``: single
            values.
        frequencies: Share of the frequencies along each side that ``"dct"`` uses, the lowest; in
            (0, 1].
        step_size: Length of a vector in l2, in units of pixel value. By default such that half
            as many steps as queries, at right angles, reach the farthest point of the ball.
        norm: Norm of the ball. Colour channels and pixels count as one vector per image.
        loss: What decides between equal Dice scores, one value per image.
        targeted: Search towards ``masks`` instead of away from them.
        within: Where and how the perturbation may differ from the image, see
            :func:`~palpate.attacks.threats.threat_model`. A vector is brought
            within it and made as long as it was; of what is left of it on the 8-bit lattice,
            the largest values move.
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
    check_images(images, masks)
    check_ball(epsilon, norm, images)
    check_search(queries, 2, keep, early_stop)
    _check_basis(basis, frequencies)
    if step_size is None:
        reach = epsilon if norm == "l2" else epsilon * sqrt(images[0].numel())
        step_size = reach / sqrt(queries / 2)
    check_schedule(1, 1, step_size if epsilon > 0 else None)
    threat = threat_model(within)
    threat.check(images, epsilon, norm)
    problem = Problem(model, images, masks, loss, targeted, torch.arange(len(images)), threshold)
    walks = [
        _walk(
            image[None],
            mask[None],
            _steps(
                _vectors(image[None], basis, frequencies, random), mask[None], step_size, threat
            ),
            threat,
            epsilon=epsilon,
            norm=norm,
            early_stop=early_stop,
        )
        for image, mask, random in zip(
            images, masks, one_per_image(generator, len(images)), strict=True
        )
    ]
    found = pursue(problem, walks, queries=queries, threshold=threshold, by_loss=keep == "loss")
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
                    break
    return point


def _steps(
    vectors: Iterator[Images], mask: Masks, step_size: float, threat: Threat
) -> Iterator[Images]:
    """The vectors at their length; those of which the threat model leaves nothing are passed."""
    passed = 0
    for vector in vectors:
        step = step_size * vector if threat.is_bare else threat.step(vector, mask, step_size, "l2")
        # There are no more vectors than values: if nothing is left of so many, then of none.
        passed = 0 if (step != 0).any() else passed + 1
        if passed == 0 or passed > vector.numel() or step_size == 0:
            yield step


def _vectors(
    image: Images, basis: Basis, frequencies: float, random: Generator
) -> Iterator[Images]:
    """The basis in random order, again and again."""
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
