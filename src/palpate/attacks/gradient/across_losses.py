"""Compare the results of runs with different losses."""

from palpate.attacks.core.best import Best, rank
from palpate.attacks.core.gradient_step import evaluate_point
from palpate.attacks.core.problem import Problem
from palpate.overlap import count, dice
from palpate.types import Images, Loss, PerImage


def record_run(worst: Best, problem: Problem, found: Images, threshold: float) -> PerImage:
    """Record the results of a run in ``worst``, by Dice score.

    Values of different losses cannot be compared, so points of equal Dice score are compared by the
    fraction of wrong pixels. Costs one forward pass.

    Returns:
        The rank of each result, see :func:`palpate.attacks.core.best.rank`.
    """
    point = evaluate_point(problem, found, differentiable=False, after="at the end of a run")
    predictions = point.logits > threshold
    scores = dice(count(predictions, problem.masks)).to(found)
    wrong = (predictions != problem.masks).flatten(1).to(found).mean(1)
    order = rank(scores, "dice", problem.targeted)
    worst.update(problem.rows, found, order, -wrong if problem.targeted else wrong)
    return order


def name_of(loss: Loss) -> str:
    """The name of a loss, for messages."""
    return getattr(loss, "__name__", type(loss).__name__)
