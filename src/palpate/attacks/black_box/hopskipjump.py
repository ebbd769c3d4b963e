"""HopSkipJump: a decision-based attack, which only observes whether an image is a success."""

import warnings
from collections.abc import Generator as Routine
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from math import inf, sqrt

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from palpate.attacks.black_box.query_loop import Answer, NoQueriesLeftError, Walk, run_walks
from palpate.attacks.core.checks import check_ball, check_images, check_queries
from palpate.attacks.core.draws import generators_per_image
from palpate.attacks.core.levels import check_levels, rounded, shortened
from palpate.attacks.core.problem import Problem
from palpate.attacks.losses import margin
from palpate.attacks.minimal.shortest import UnbrokenWarning
from palpate.geometry import norms, perturb, project, steepest
from palpate.types import Images, LogitsFn, Masks, Norm, Randomness

# As a fraction of the distance: precision of the boundary, and radius of the queries.
_PRECISION = 0.01
_FIRST_PROBE = 0.1  # radius of the queries around the first point, in units of pixel value
_MOST_SAMPLES = 10_000  # largest number of queries around one point
_AT_ONCE = 32  # queries of one image that are in memory at once


@torch.no_grad()
def hopskipjump(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    queries: int = 1000,
    tau: float = 0.5,
    samples: int = 100,
    starts: Images | None = None,
    norm: Norm = "linf",
    levels: int | None = None,
    targeted: bool = False,
    generator: Randomness = None,
    threshold: float = 0.0,
    early_stop: bool = False,
) -> Images:
    r"""HopSkipJump (Chen et al., 2020, https://arxiv.org/abs/1904.02144).

    Each query gives one bit: whether the Dice score is at most ``tau``. Flat losses and saturated
    logits therefore do not affect the attack. Starting from an image that is a success (*broken*),
    it follows the boundary of the set of broken images towards the clean image: bisect the line to
    the clean image, estimate the normal of the boundary from random queries around this point,
    jump along the normal, repeat.

    For :math:`d` values per image the paper bisects to :math:`d^{-3/2}` of the distance and queries
    at a radius of :math:`d^{-1}` of it. Here these are :math:`0.01 / \sqrt{d}` and :math:`0.01`,
    because single precision cannot resolve the values of the paper at usual image sizes.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound. No gradient
            is needed. If it holds data per image, it must be a ``partial`` with ``prompts`` or
            :class:`~palpate.attacks.Selectable`, because an image may occur several times in a
            batch.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        queries: Forward passes per image, exactly; fewer only if the clean image is broken, if its
            start is not broken, or with ``early_stop``.
        tau: An image is broken if its Dice score is at most this (targeted: at least this).
        samples: Queries around the first point; around the n-th, :math:`\sqrt{n}` times as many.
        starts: Broken images to start from, one per image; by default uniform noise, drawn until
            it is broken. Targeted attacks need starts: images for which the model predicts the
            target. If a start is not broken, the clean image is returned after two queries, and a
            warning is given.
        norm: Norm of the distance to the clean image, which is minimised.
        levels: Number of values a pixel may take, 256 for 8-bit images. Every query is rounded to
            them, and so is the result if the clean image is on these levels. None does not round.
        targeted: Search for agreement with ``masks`` instead of disagreement.
        generator: On the CPU; one for the batch, or one per image, so that an image gets the same
            random numbers in every batch. ``None`` uses torch's global generator.
        threshold: Logits above it are foreground.
        early_stop: Stop attacking an image once it is broken within the ball, instead of using the
            remaining queries to come nearer to the clean image.

    Returns:
        For each image the nearest broken one found, in [0, 1]. If it is farther away than
        ``epsilon``, it is projected on the ball; if none was found, the clean image is returned.
        The warning counts both.

    Raises:
        ValueError: If images, masks, starts, budgets or logits are not as described.
        FloatingPointError: If a logit is not finite.

    Warns:
        UnbrokenWarning: If some image was not broken within its ball.
    """
    check_images(images, masks)
    check_ball(epsilon, norm, images)
    check_queries(queries, 2, "dice", early_stop)
    _check_criterion(tau, samples)
    check_levels(levels)
    if starts is not None:
        check_images(starts, masks)
    problem = Problem.of_batch(model, images, masks, margin, targeted=targeted, threshold=threshold)
    searches = [
        _ImageSearch(
            image[None],
            tau,
            targeted,
            norm,
            epsilon if early_stop else -inf,
            samples,
            random,
            levels,
        )
        for image, random in zip(images, generators_per_image(generator, len(images)), strict=True)
    ]
    walks = [
        search.run(None if starts is None else starts[row : row + 1])
        for row, search in enumerate(searches)
    ]
    nearest = torch.cat(run_walks(problem, walks, queries=queries, threshold=threshold))
    distances = torch.tensor([search.distance for search in searches])
    broken = (distances <= epsilon).to(images.device)
    _warn_of_unbroken(broken, torch.tensor([search.bad_start for search in searches]), epsilon)
    projected = perturb(images, project(nearest - images, epsilon, norm))
    projected = shortened(images, projected, epsilon, norm, levels)
    # Broken images are not rounded again: near the boundary, rounding could undo the success.
    return torch.where(broken.view(-1, 1, 1, 1), nearest, projected)


@dataclass
class _ImageSearch:
    """The search for one image: its settings and the nearest broken image so far."""

    image: Images
    tau: float
    targeted: bool
    norm: Norm
    near_enough: float  # distance at which to stop
    samples: int
    random: Generator
    levels: int | None = None
    nearest: Images = field(init=False)  # broken image nearest to the clean one so far
    distance: float = field(default=inf, init=False)
    bad_start: bool = field(default=False, init=False)  # whether the start was not broken
    dither: Images | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.nearest = self.image

    def run(self, start: Images | None) -> Walk[Images]:
        """Walk along the boundary; return the nearest broken image."""
        with suppress(NoQueriesLeftError):
            if (yield from self._is_broken(self.image)):
                return self.image
            point = yield from self._first(start)
            point = yield from self._bisect(point)
            for step in count(1):
                normal = yield from self._normal(point, step)
                point = yield from self._jump(point, normal, step)
                point = yield from self._bisect(point)
        return self.nearest

    def _ask(self, points: Images) -> Routine[Images, list[Answer], Bool[Tensor, " k"]]:
        """Query points; return which are broken. There are fewer at the end of the budget."""
        points = self._stored(points)
        answers = yield points
        points = points[: len(answers)]
        scores = torch.tensor([a.rank if self.targeted else -a.rank for a in answers])
        broken = scores >= self.tau if self.targeted else scores <= self.tau
        distances = norms(points.double() - self.image.double(), self.norm).cpu()
        for place in broken.nonzero().flatten().tolist():
            if distances[place] < self.distance:
                self.nearest = points[place : place + 1].clone()
                self.distance = distances[place].item()
        if self.distance <= self.near_enough:
            raise NoQueriesLeftError
        return broken

    def _stored(self, points: Images) -> Images:
        """Round to the levels, with a fixed random offset for each value.

        Without offsets, all values that a bisection clips to the same height would switch to the
        next level at once.
        """
        if self.levels is None:
            return points
        if self.dither is None:
            drawn = torch.rand(self.image.shape, generator=self.random)
            self.dither = drawn.to(self.image) * 0.98 - 0.49
        return rounded((points + self.dither / (self.levels - 1)).clamp(0.0, 1.0), self.levels)

    def _is_broken(self, point: Images) -> Walk[bool]:
        return bool((yield from self._ask(point))[0])

    def _first(self, start: Images | None) -> Walk[Images]:
        """The first broken point: the given start, or uniform noise."""
        if start is not None:
            if not (yield from self._is_broken(start)):
                self.bad_start = True
                raise NoQueriesLeftError
            return start
        while True:
            noise = torch.rand(self.image.shape, generator=self.random).to(self.image)
            if (yield from self._is_broken(noise)):
                return noise

    def _bisect(self, point: Images) -> Walk[Images]:
        """Bisect between a broken point and the clean image; return the nearest broken point."""
        towards = point - self.image
        low, high = 0.0, self._distance(point)
        tolerance = high * _PRECISION / sqrt(point.numel())
        while high - low > tolerance:
            middle = (low + high) / 2
            candidate = perturb(self.image, project(towards, middle, self.norm))
            if (yield from self._is_broken(candidate)):
                point, high = candidate, middle
            else:
                low = middle
        return point

    def _normal(self, point: Images, step: int) -> Walk[Images]:
        """Estimate the normal of the boundary, pointing to broken images, by random queries."""
        length = _FIRST_PROBE if step == 1 else _PRECISION * norms(point - self.image, "l2").item()
        if self.levels is not None:  # about one level per value; less would be rounded away
            length = max(length, sqrt(point.numel()) / (self.levels - 1))
        left = min(int(self.samples * sqrt(step)), _MOST_SAMPLES)
        along_broken, along_all = torch.zeros_like(point), torch.zeros_like(point)
        broken, asked = 0, 0
        while left > 0:
            offsets = self._offsets(point, min(left, _AT_ONCE))
            around = (point + length * offsets).clamp(0.0, 1.0)
            answers = yield from self._ask(around)
            offsets = ((around - point) / length)[: len(answers)]
            along_broken += offsets[answers.to(offsets.device)].sum(0, keepdim=True)
            along_all += offsets.sum(0, keepdim=True)
            broken, asked, left = broken + int(answers.sum()), asked + len(answers), left - _AT_ONCE
        if broken in (0, asked):  # all queries on one side: subtracting the mean would leave 0
            return along_all if broken else -along_all
        # The baseline of the paper: subtracting the mean answer lowers the variance.
        return along_broken - along_all * broken / asked

    def _jump(self, point: Images, normal: Images, step: int) -> Walk[Images]:
        """Step along the normal, and halve the step until the point is broken."""
        length = self._distance(point) / sqrt(step)
        while True:
            moved = point + length * steepest(normal, self.norm)
            candidate = moved.clamp(0.0, 1.0)
            if (yield from self._is_broken(candidate)):
                return candidate
            length /= 2

    def _offsets(self, point: Images, count: int) -> Float[Tensor, "k c h w"]:
        shape = (count, *point.shape[1:])
        if self.norm == "l2":
            drawn = torch.randn(shape, generator=self.random)
        else:
            drawn = 2 * torch.rand(shape, generator=self.random) - 1
        return steepest(drawn.to(point), "l2")

    def _distance(self, point: Images) -> float:
        return norms(point - self.image, self.norm).item()


def _warn_of_unbroken(
    broken: Bool[Tensor, " b"], bad_starts: Bool[Tensor, " b"], epsilon: float
) -> None:
    if not broken.all():
        lost, hopeless = ~broken.cpu(), bad_starts & ~broken.cpu()
        text = (
            f"{int(lost.sum())} of {len(broken)} images were not broken within epsilon "
            f"{epsilon:.4g}: {_places(lost)}."
        )
        if hopeless.any():
            text += (
                f" The starts of {_places(hopeless)} were not broken themselves, so the attack did "
                "not run there: give starts that the model segments wrongly (targeted: as wanted)."
            )
        if (lost & ~hopeless).any():
            others = "the others" if hopeless.any() else "them"
            text += f" More queries might break {others}; this is no proof of robustness."
        warnings.warn(
            text,
            UnbrokenWarning,
            stacklevel=4,  # skips this function, the attack and torch's no_grad
        )


def _places(rows: Bool[Tensor, " b"]) -> list[int]:
    found: list[int] = rows.nonzero().flatten().tolist()
    return found


def _check_criterion(tau: float, samples: int) -> None:
    if not 0 <= tau <= 1:
        raise ValueError(f"Expected a Dice score tau in [0, 1], got {tau}.")
    if samples < 1:
        raise ValueError(f"Expected samples >= 1, got {samples}.")
