"""Checks of the sanity card that examine a model: whether gradient attacks work on it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from palpate.atomic import write_text
from palpate.data import Samples
from palpate.evaluation.batches import BATCH_SIZE, list_cases, load, windows
from palpate.evaluation.frozen import device_of, frozen, threshold_of
from palpate.evaluation.protocol.protocol import Protocol
from palpate.evaluation.results.describe import describe_model, hash_weights
from palpate.evaluation.sanity import declared, derivative, gradients, memory, outcomes, rivals
from palpate.evaluation.sanity.check import NAMES, Check, conclude
from palpate.evaluation.sanity.subject import Subject
from palpate.evaluation.scoring import Precision, Scorer
from palpate.progress import Progress, silent
from palpate.types import Segmenter
from palpate.version import release

_ABANDONED = (
    "The check could not be carried out. An attack that cannot run does no damage, and that is "
    "no robustness."
)
_CHECKS: dict[int, Callable[[Subject], Check]] = {
    1: outcomes.leaves_alone_at_zero,
    4: outcomes.breaks_without_bound,
    7: rivals.finds_no_more_by_search,
    9: gradients.has_converged,
    10: gradients.has_gradient,
    11: gradients.hides_nothing,
    13: declared.declares_its_stages,
    14: outcomes.survives_storage,
    15: outcomes.answers_alike,
    18: derivative.follows_its_gradient,
    19: rivals.finds_no_more_when_smoothed,
    20: memory.resists_elsewhere,
}


def card_from_model(
    model: Segmenter,
    samples: Samples,
    *,
    count: int = 8,
    epsilon: float = 8 / 255,
    steps: int = 20,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    precision: Precision = "fp32",
    out: Path | str | None = None,
    progress: Progress = silent,
) -> list[Check]:
    """Run checks 1, 4, 7, 9 to 15 and 18 to 20 of the sanity card on a few samples.

    A check that raises an error fails and reports the error. Per sample, all checks together take
    about ``6.5 * steps`` forward and backward passes and ``7 * steps`` passes forward only, 275
    forward and 135 backward at 20 steps.

    Args:
        model: As in :func:`palpate.evaluation.evaluate`.
        samples: Data set; ``count`` samples at even distances are used.
        count: Number of samples to use.
        epsilon: L-infinity radius of the attacks, in units of pixel value in [0, 1].
        steps: Steps of PGD, the attack that is checked.
        seed: Seed of the random starts.
        batch_size: Images attacked together; halved automatically if GPU memory runs out.
        precision: Precision of the model under attack; use that of the rows that the card
            accompanies.
        out: File to cache the result in. A later call with the same weights, samples and settings
            reads the result from it. A model that is not an ``nn.Module`` is never cached,
            because its weights are unknown.
        progress: Called before each check with its name.

    Returns:
        The checks in order of their numbers.
    """
    scorer = Scorer(
        model, threshold_of(model), seed, Protocol("sanity"), precision, tolerance=2.0, tau=0.5
    )
    cases = list_cases(samples)
    taken = _spread(len(cases), count)
    made_of = scorer.made_of(samples, [cases[i] for i in taken]) | {
        "settings": f"epsilon {epsilon!r}, steps {steps}, seed {seed}",
        "declared": declared.declarations(model),
        "palpate": release(),
    }
    if out is not None and (earlier := _kept(made_of, Path(out))):
        return earlier
    checks = _examine(scorer, samples, taken, (epsilon, steps), batch_size, progress)
    if out is not None and isinstance(model, nn.Module):
        _keep(checks, made_of, Path(out))
    return checks


def _examine(
    scorer: Scorer,
    samples: Samples,
    taken: Sequence[int],
    strength: tuple[float, int],
    batch_size: int,
    progress: Progress,
) -> list[Check]:
    """Run all checks of the model, with a batch size that fits into memory."""
    model, before = scorer.model, _state_of(scorer.model)
    cases, checks = list_cases(samples), None
    with frozen(model):
        while checks is None:
            parts = [[taken[i] for i in window] for window in windows(len(taken), batch_size)]
            batches = tuple(load(samples, cases, parts, device_of(model)))
            checks = _all_checks(Subject(scorer, batches, *strength), progress)
            batch_size = max(1, batch_size // 2)
        checks.append(_left_alone(model, before))
    return sorted(checks, key=lambda check: check.number)


def _spread(available: int, count: int) -> list[int]:
    """Indices of ``count`` samples at even distances, or of all samples if there are fewer."""
    count = min(count, available)
    return [i * available // count for i in range(count)]


def _all_checks(subject: Subject, progress: Progress) -> list[Check] | None:
    """Run all checks; return None if memory ran out and smaller batches might fit."""
    try:
        checks = []
        for done, (number, check) in enumerate(_CHECKS.items()):
            progress("sanity", done, len(_CHECKS), NAMES[number])
            checks.append(_carried_out(number, check, subject))
        progress("sanity", len(_CHECKS), len(_CHECKS))
        return checks
    except torch.cuda.OutOfMemoryError:
        if all(len(batch.cases) == 1 for batch in subject.batches):
            raise
    # Outside the handler: inside, the traceback still keeps the failed attempt's tensors alive.
    torch.cuda.empty_cache()
    return None


def _carried_out(number: int, check: Callable[[Subject], Check], subject: Subject) -> Check:
    """Run one check; an error of the model or attack becomes a failed check."""
    try:
        return check(subject)
    except torch.cuda.OutOfMemoryError:
        raise  # also a RuntimeError, but it says nothing about the model
    except (ArithmeticError, RuntimeError, ValueError) as error:
        return Check(
            number,
            "fail",
            f"{type(error).__name__}: {error}",
            _ABANDONED,
        )


def _left_alone(model: Segmenter, before: tuple[str, ...]) -> Check:
    """Check 12: all modules were in evaluation mode and no weight or buffer changed."""
    if not isinstance(model, nn.Module):
        return Check(12, "not_run", "The model is not a module.", "Its state cannot be seen.")
    learning = [name or "itself" for name, module in model.named_modules() if module.training]
    changed = _state_of(model) != before
    return conclude(
        12,
        "fail" if learning or changed else "pass",
        f"Weights and buffers {'changed' if changed else 'unchanged'}; in training mode: "
        f"{', '.join(learning[:5]) or 'nothing'}.",
        good="All attacks met the same model, in evaluation mode.",
        doubtful="",
        bad="The model changed while it was attacked, so that its rows are of different models: "
        "look for batch statistics and caches that learn, or modules that leave evaluation mode.",
    )


def _state_of(model: Segmenter) -> tuple[str, ...]:
    """Hashes of the weights and of all buffers, including buffers that are not saved."""
    return hash_weights(model), describe_model(model).get("model.buffers", "")


def _keep(checks: Sequence[Check], made_of: Mapping[str, str], path: Path) -> None:
    """Write the checks to a file, with everything that they depend on.

    Nothing is written if a check raised an error: the cause may lie in the machine, not the model.
    """
    if any(check.meaning == _ABANDONED for check in checks):
        return
    values = {"made_of": dict(made_of), "checks": [asdict(check) for check in checks]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False))


def _kept(made_of: Mapping[str, str], path: Path) -> list[Check] | None:
    """Read the checks; None if the file is missing, damaged or made from something else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["made_of"] != dict(made_of):
            return None
        return [Check(**line) for line in values["checks"]]
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None
