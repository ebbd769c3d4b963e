"""How attacks without gradients ask: each image goes its own way, the model sees them together.

Such an attack describes what happens to one image as a generator, a *walk*: it yields points, is
sent an answer for each of them, and returns its result. A walk sees nothing but its own image, so
no image can influence another; the points of all walks share forward passes.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from palpate.attacks.core.best import is_worst
from palpate.attacks.core.gradient_step import look
from palpate.attacks.core.problem import Problem
from palpate.attacks.core.selection import restrict
from palpate.overlap import count, dice
from palpate.types import Images

T = TypeVar("T")

_AT_ONCE = 16  # points in a forward pass, where fewer images than that are attacked


class Answer(NamedTuple):
    """What the model makes of one point; of two answers the greater is the more harmful."""

    rank: float  # minus the Dice score (targeted: plus); 0 where only the loss counts
    harm: float  # decides between equal ranks
    is_worst: bool  # nothing worse can happen to this image


Walk: TypeAlias = Generator[Images, list[Answer], T]


class NoQueriesLeftError(Exception):
    """Thrown into a walk in place of an answer that it may not have; it then has to end."""


def pursue(
    problem: Problem,
    walks: Sequence[Walk[T]],
    *,
    queries: int,
    threshold: float,
    by_loss: bool = False,
) -> list[T]:
    """Answer all walks until each has ended, and return what they return, in order.

    Args:
        problem: What is attacked.
        walks: One per image. A walk may yield several points of its image at once; beyond its
            last query it gets fewer answers than it asked for.
        queries: Points that each walk may ask for. One that ends by itself leaves the rest.
        threshold: Logits above it are foreground when the Dice score is taken.
        by_loss: Rank points by their loss alone.

    Raises:
        ValueError: If logits or losses have the wrong shape.
        FloatingPointError: If a loss is not finite.
    """
    answerer = _Answerer(problem, threshold, by_loss)
    left = [queries] * len(walks)
    asked: dict[int, Images] = {}
    ends: dict[int, T] = {}

    def advance(row: int, answers: list[Answer] | None) -> None:
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
    """Asks the model for the points of all walks, as many at once as fit."""

    def __init__(self, problem: Problem, threshold: float, by_loss: bool) -> None:
        self.problem, self.threshold, self.by_loss = problem, threshold, by_loss
        self.first = True
        images = len(problem.images)
        # Whole rounds, so that a model that holds something per image is asked for all in order.
        self.at_once = images * max(1, _AT_ONCE // images)

    def __call__(self, asked: Mapping[int, Images], after: str) -> dict[int, list[Answer]]:
        """Answers to the points of each row."""
        order = sorted((turn, row) for row, points in asked.items() for turn in range(len(points)))
        answers: dict[int, list[Answer]] = {row: [] for row in asked}
        done = 0
        while done < len(order):
            portion = order[done : done + self.at_once]
            rows = [row for _, row in portion]
            found = self._attempt(rows, torch.stack([asked[r][turn] for turn, r in portion]), after)
            for row, answer in zip(rows, found, strict=False):  # nothing was found if nothing fits
                answers[row].append(answer)
            done += len(found)
        return answers

    def _attempt(self, rows: list[int], points: Images, after: str) -> list[Answer]:
        try:
            return self._look(rows, points, after)
        except torch.cuda.OutOfMemoryError:
            if len(rows) == 1:
                raise
        # Outside the handler, where nothing holds the tensors of the failed attempt any more.
        torch.cuda.empty_cache()
        self.at_once = len(rows) // 2
        return []

    def _look(self, rows: list[int], points: Images, after: str) -> list[Answer]:
        part = _part(self.problem, rows)
        view = look(part, points, differentiable=False, after=after, first=self.first)
        self.first = False
        scores = dice(count(view.logits > self.threshold, part.masks)).to(points)
        worst = is_worst(scores, part.masks, targeted=part.targeted)
        rank: Tensor = scores if part.targeted else -scores
        if self.by_loss:
            rank = torch.zeros_like(scores)
        columns = torch.stack([rank, view.harm, worst.to(rank)]).tolist()  # one wait, not three
        return [Answer(r, h, bool(w)) for r, h, w in zip(*columns, strict=True)]


def _part(problem: Problem, rows: list[int]) -> Problem:
    """The images ``rows``, some of them several times."""
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
