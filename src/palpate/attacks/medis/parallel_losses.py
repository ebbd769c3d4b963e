"""Several losses on copies of the same images, step by step, and which of them was quickest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from palpate.attacks.core.gradient_step import View, is_stuck, look, slope
from palpate.attacks.core.problem import Problem
from palpate.attacks.core.selection import restrict
from palpate.attacks.medis.side_by_side import SideBySide
from palpate.attacks.medis.success_rules import Rules, Scores
from palpate.attacks.threats import Threat
from palpate.types import Images, LogitsFn, Loss, Masks

_NEVER = 2**62
_ANYWHERE = Threat()


@dataclass(frozen=True)
class Run:
    """What one loss made of each image of a batch; all but the images is on the CPU.

    Attributes:
        loss: Its name.
        images: At the first success; without one, at the best score, of equals the first.
        success: Whether there was one.
        steps: Taken to ``images``, as :meth:`Rules.number` counts them.
        credit: What success was judged by, there; not a number where ``skipped``.
        skipped: Left alone, see :func:`race`.
        flat: Whether the gradient was zero at some point though there was something to do.
        scores: At each point that was looked at; not a number at the others.
        values: Of the loss, likewise.
    """

    loss: str
    images: Images
    success: Bool[Tensor, " b"]
    steps: Int[Tensor, " b"]
    credit: Scores
    skipped: Bool[Tensor, " b"]
    flat: Bool[Tensor, " b"]
    scores: Float64[Tensor, "b points"]
    values: Float64[Tensor, "b points"]


def race(
    model: LogitsFn,
    images: Images,
    aims: Sequence[Masks],
    losses: Mapping[str, Loss],
    rules: Rules,
    *,
    skipped: Bool[Tensor, "losses b"] | None = None,
    copies: int | None = None,
    until_first: bool = False,
    threat: Threat = _ANYWHERE,
    masks: Masks | None = None,
) -> list[Run]:
    """Attack with each loss by itself, as many at once as memory allows.

    A batch is as many copies of the images as there are losses. Each copy of each image is an
    attack of its own that knows nothing of the others, so how many go at once changes nothing
    but rounding.

    Args:
        model: Maps images to logits; where it holds prompts, see
            :func:`palpate.attacks.core.selection.restrict`.
        images: Clean images in [0, 1].
        aims: For each loss the masks it goes by: the truth, or what the attacker wants to see.
        losses: By name, in the order in which equals are preferred.
        rules: How to step and to judge.
        skipped: For each loss, images to leave alone.
        copies: Losses at once; None: all. Halved by itself where an accelerator's memory runs out.
        until_first: Leave an image alone as soon as one loss has succeeded on it. Whichever loss
            :func:`fewest_steps` then names is the same, the others may be unfinished.
        threat: Where and how a perturbation may differ from its image.
        masks: Whose places the threat model goes by; by default those of the first loss's aims.

    Returns:
        One run for each loss, in order.

    Raises:
        ValueError: If copies are fewer than one, or logits or losses have the wrong shape.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from a loss to the pixels.
    """
    if copies is not None and copies < 1:
        raise ValueError(f"Expected copies >= 1, got {copies}.")
    if skipped is None:
        skipped = torch.zeros(len(losses), len(images), dtype=torch.bool)
    masks = aims[0] if masks is None else masks
    at_once = copies or len(losses)
    names, runs = list(losses), list[Run]()
    fewest = torch.full((len(images),), _NEVER)
    while len(runs) < len(losses):
        group = slice(len(runs), len(runs) + at_once)
        entrants = {name: losses[name] for name in names[group]}
        heat = _Heat(model, images, entrants, rules, fewest if until_first else None, threat, masks)
        done = _unless_too_much(heat, aims[group], skipped[group])
        if done is None:
            at_once = len(entrants) // 2
            continue
        runs += done
        for run in done:
            fewest = torch.where(run.success, fewest.minimum(run.steps), fewest)
    return runs


def fewest_steps(runs: Sequence[Run], rules: Rules) -> list[int]:
    """Parallel fusion: for each image, the place of the run that did best on it.

    That is the one that succeeded in the fewest steps, of equals that with the best score, of
    equals the first. Where none succeeded it is the one with the best score, of equals the one
    with the fewest steps; runs that skipped an image come last.
    """
    ranks = [rules.rank(run.credit).tolist() for run in runs]

    def key(place: int, image: int) -> tuple[int, float, float]:
        run, steps = runs[place], float(runs[place].steps[image])
        if run.skipped[image]:
            return (2, 0.0, 0.0)
        if run.success[image]:
            return (0, steps, -ranks[place][image])
        return (1, -ranks[place][image], steps)

    count = len(runs[0].images)
    return [min(range(len(runs)), key=lambda place: key(place, image)) for image in range(count)]


@dataclass(frozen=True)
class _Heat:
    """Some losses on their copies of the images, all in one batch."""

    model: LogitsFn
    images: Images
    losses: Mapping[str, Loss]
    rules: Rules
    fewest: Int[Tensor, " b"] | None  # steps in which an image was done before; None: do not mind
    threat: Threat
    masks: Masks

    def run(self, aims: Sequence[Masks], skipped: Bool[Tensor, "losses b"]) -> list[Run]:
        count, rules = len(self.images), self.rules
        problem, left = self._problem(aims), ~skipped.flatten()
        record = _Record(problem.images, ~left, rules)
        fewest = None if self.fewest is None else self.fewest.clone()
        problem, lanes = _select(problem, left), left.nonzero().flatten()
        here = problem.images
        for point in range(rules.points):
            if len(problem.rows) == 0:
                break
            after = f"after {point} of {rules.steps} steps with {', '.join(self.losses)}"
            view = look(
                problem,
                here,
                differentiable=point < rules.points - 1,
                after=after,
                progress=point / rules.steps,
                maps=rules.faithful,
            )
            score = rules.score(view.logits, problem.masks).cpu()
            record.enter(lanes, point, view, score)
            going = ~rules.stops(score) if rules.counts(point) else torch.ones_like(score) > 0
            if fewest is not None:
                step = rules.number(point)
                # All copies are at the same step, so none of them can have been quicker.
                fewest[problem.rows[record.success[lanes]]] = step
                going &= step < fewest[problem.rows]
            if point < rules.points - 1 and going.any():
                gradient = slope(problem, view, after=after)
                masks = self.masks[problem.rows]
                free = self.threat.project(gradient, masks)
                record.flat[lanes] |= is_stuck(problem, view, free).cpu()
                here = rules.move(problem.images, here, gradient, masks, self.threat)
            problem, here = _select(problem, going), here[going.to(here.device)]
            lanes = lanes[going]
        return record.by_loss(list(self.losses), count)

    def _problem(self, aims: Sequence[Masks]) -> Problem:
        """The images once for each loss, copy after copy; rows are those of the batch."""
        copies, count = len(self.losses), len(self.images)
        places, owners = torch.arange(count).repeat(copies), torch.arange(copies)
        owners = owners.repeat_interleave(count)
        return Problem(
            model=restrict(self.model, places.tolist(), count),
            images=self.images.repeat(copies, 1, 1, 1),
            masks=torch.cat(list(aims)),
            loss=SideBySide(tuple(self.losses.values()), owners),
            targeted=self.rules.targeted,
            rows=places,
            threshold=0.0 if self.rules.faithful else self.rules.threshold,
        )


class _Record:
    """What is known of every copy of every image."""

    def __init__(self, images: Images, skipped: Bool[Tensor, " n"], rules: Rules) -> None:
        count = len(images)
        self.rules, self.skipped, self.images = rules, skipped, images.clone()
        self.success = torch.zeros(count, dtype=torch.bool)
        self.flat = torch.zeros(count, dtype=torch.bool)
        self.steps = torch.zeros(count, dtype=torch.int64)
        self.credit = torch.full((count,), torch.nan, dtype=torch.float64)
        self.scores = torch.full((count, rules.points), torch.nan, dtype=torch.float64)
        self.values = self.scores.clone()

    def enter(self, rows: Int[Tensor, " k"], point: int, view: View, score: Scores) -> None:
        """Take note of a point of the copies in ``rows``."""
        rules = self.rules
        harm = view.harm.detach().double().cpu()
        self.scores[rows, point] = score
        self.values[rows, point] = -harm if rules.targeted else harm
        if not rules.counts(point):
            return
        credit = rules.credit(score)
        won, rank, best = rules.succeeds(credit), rules.rank(credit), rules.rank(self.credit[rows])
        # The first point that counts is better than none, whose score is not a number.
        better = ~self.success[rows] & (won | ~(rank <= best))
        chosen = rows[better]
        device = self.images.device
        self.images[chosen.to(device)] = view.point.detach()[better.to(device)]
        self.steps[chosen], self.credit[chosen] = rules.number(point), credit[better]
        self.success[chosen] = won[better]

    def by_loss(self, names: Sequence[str], count: int) -> list[Run]:
        """One run for each loss, whose images stand together."""
        parts = [slice(place * count, (place + 1) * count) for place in range(len(names))]
        return [
            Run(
                loss=name,
                images=self.images[part],
                success=self.success[part],
                steps=self.steps[part],
                credit=self.credit[part],
                skipped=self.skipped[part],
                flat=self.flat[part],
                scores=self.scores[part],
                values=self.values[part],
            )
            for name, part in zip(names, parts, strict=True)
        ]


def _select(problem: Problem, wanted: Bool[Tensor, " b"]) -> Problem:
    """What is left of a problem, its loss included."""
    assert isinstance(problem.loss, SideBySide)
    loss = problem.loss.select(wanted)
    return replace(problem.select(wanted.to(problem.images.device)), loss=loss)


def _unless_too_much(
    heat: _Heat, aims: Sequence[Masks], skipped: Bool[Tensor, "losses b"]
) -> list[Run] | None:
    """The runs, or nothing where they did not fit into memory and fewer might."""
    try:
        return heat.run(aims, skipped)
    except torch.cuda.OutOfMemoryError:
        if len(heat.losses) == 1:
            raise
    # Only here, outside the handler, are the tensors of the failed attempt unreachable.
    torch.cuda.empty_cache()
    return None
