"""The query loop of black-box attacks: images are attacked separately but share forward passes.

An attack on one image is written as a Python generator, a *walk*. It yields points, receives an
answer for each of them, and returns its result. A walk has access to its own image only, so no
image can affect another; the points of all walks are evaluated together.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from palpate.attacks.core.best import is_worst
from palpate.attacks.core.draws import generators_per_image
from palpate.attacks.core.gradient_step import evaluate_point
from palpate.attacks.core.problem import Problem
from palpate.attacks.core.selection import restrict
from palpate.oom import Portions
from palpate.overlap import count, dice
from palpate.types import Images, Masks, Randomness

T = TypeVar("T")

_AT_ONCE = 16  # points per forward pass if fewer images than that are attacked


class Answer(NamedTuple):
    """The model's answer for one point; of two answers, the greater is the more harmful."""

    rank: float  # minus the Dice score (targeted: the score); 0 if ranked by the loss alone
    harm: float  # compares answers of equal rank
    is_worst: bool  # whether the Dice score is the worst possible


Walk: TypeAlias = Generator[Images, list[Answer], T]


class NoQueriesLeftError(Exception):
    """Raised inside a walk that has used all its queries; the walk must then return."""


def one_by_one(
    images: Images, masks: Masks, generator: Randomness
) -> Iterator[tuple[Images, Masks, torch.Generator]]:
    """Yield each image with its mask, both with a batch axis of 1, and its own generator."""
    generators = generators_per_image(generator, len(images))
    for row, random in enumerate(generators):
        yield images[row : row + 1], masks[row : row + 1], random


def run_walks(
    problem: Problem,
    walks: Sequence[Walk[T]],
    *,
    queries: int,
    threshold: float,
    by_loss: bool = False,
) -> list[T]:
    """Run all walks to their end, evaluating their points together.

    Args:
        problem: The images under attack.
        walks: One per image. A walk may yield several points of its image at once. At the end of
            its budget it receives fewer answers than it yielded points.
        queries: Number of points that each walk may query.
        threshold: Logits above it are foreground.
        by_loss: Rank points by their loss alone.

    Returns:
        The results of the walks, in order.

    Raises:
        ValueError: If logits or losses have the wrong shape.
        FloatingPointError: If a loss is not finite.
    """
    answerer = _Answerer(problem, threshold, by_loss)
    left = [queries] * len(walks)
    asked: dict[int, Images] = {}
    ends: dict[int, T] = {}

    def advance(row: int, answers: list[Answer] | None) -> None:
        """Resume one walk until it yields its next points or returns."""
        try:
            points = next(walks[row]) if answers is None else walks[row].send(answers)
            if left[row] <= 0:
                walks[row].throw(NoQueriesLeftError())
                raise AssertionError("A walk asked on although it had no queries left.")
            asked[row] = points[: left[row]]
        except StopIteration as end:
            ends[row] = end.value

    for row in range(len(walks)):
        advance(row, None)
    while asked:
        answers = answerer(asked, f"after {queries - max(left)} of {queries} queries")
        asked.clear()
        for row, given in answers.items():
            left[row] -= len(given)
            advance(row, given)
    return [ends[row] for row in range(len(walks))]


class _Answerer:
    """Evaluates the points of all walks, as many per forward pass as fit into memory."""

    def __init__(self, problem: Problem, threshold: float, by_loss: bool) -> None:
        self.problem, self.threshold, self.by_loss = problem, threshold, by_loss
        self.first = True  # whether the loss has not been checked yet
        images = len(problem.images)
        # A multiple of the number of images, so that a model that holds data per image gets whole
        # batches in their order.
        self.portions = Portions(images * max(1, _AT_ONCE // images))

    def __call__(self, asked: Mapping[int, Images], after: str) -> dict[int, list[Answer]]:
        """Evaluate the points of each row and return their answers."""
        # First points of all images come first, then the second ones, so that images alternate.
        order = sorted((turn, row) for row, points in asked.items() for turn in range(len(points)))
        answers: dict[int, list[Answer]] = {row: [] for row in asked}

        def answer(places: list[int]) -> list[Answer]:
            rows = [order[place][1] for place in places]
            points = torch.stack(
                [asked[row][order[place][0]] for place, row in zip(places, rows, strict=True)]
            )
            return self._evaluate(rows, points, after)

        found = self.portions.run(answer, range(len(order)))
        for (_, row), one in zip(order, found, strict=True):
            answers[row].append(one)
        return answers

    def _evaluate(self, rows: list[int], points: Images, after: str) -> list[Answer]:
        part = _repeated(self.problem, rows)
        point = evaluate_point(part, points, differentiable=False, after=after, first=self.first)
        self.first = False
        scores = dice(count(point.logits > self.threshold, part.masks)).to(points)
        worst = is_worst(scores, part.masks, targeted=part.targeted)
        rank: Tensor = scores if part.targeted else -scores
        if self.by_loss:
            rank = torch.zeros_like(scores)
        columns = torch.stack([rank, point.harm, worst.to(rank)]).tolist()  # one transfer
        return [Answer(r, h, bool(w)) for r, h, w in zip(*columns, strict=True)]


def _repeated(problem: Problem, rows: list[int]) -> Problem:
    """The problem for the images ``rows``, which may contain an image several times."""
    images = len(problem.images)
    if rows == list(range(images)):
        return problem
    return replace(
        problem,
        model=restrict(problem.model, rows, images),
        images=problem.images[rows],
        masks=problem.masks[rows],
        rows=problem.rows[rows],
    )
