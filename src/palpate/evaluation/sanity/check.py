"""Names and outcomes of the checks of the sanity card, and reading and writing a card."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from palpate.atomic import write_text

Status: TypeAlias = Literal["pass", "warn", "fail", "not_run"]

NAMES: dict[int, str] = {
    1: "Epsilon 0 changes nothing",
    2: "Perturbations stay in their ball",
    3: "Damage grows with epsilon",
    4: "An unbounded attack destroys the segmentation",
    5: "Random noise is much weaker",
    6: "Stronger attacks are stronger on each image",
    7: "Black-box attacks do not beat white-box ones",
    8: "Transferred attacks do not beat white-box ones",
    9: "The attack has converged",
    10: "The gradient carries information",
    11: "Saturation hides no gradient",
    12: "The model was left as it was",
    13: "Random and non-differentiable stages are declared",
    14: "Adversarial images survive being stored",
    15: "The same image gets the same answer",
    16: "There is a segmentation to destroy",
    17: "Every attack changed the output",
    18: "The output changes as the gradient says",
    19: "A smoothed gradient leads no further",
    20: "Other images are no easier to attack",
}


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        number: A key of :data:`NAMES`. Check 7 may occur twice, of rows and of the model.
        status: ``"pass"``; ``"warn"`` if the result must be reported to readers; ``"fail"`` if
            the measured robustness cannot be trusted; ``"not_run"`` if the check was not run.
        measured: The measurements, as text.
        meaning: What follows from them, written for the reader of the report.
    """

    number: int
    status: Status
    measured: str
    meaning: str

    @property
    def name(self) -> str:
        return NAMES[self.number]


def conclude(
    number: int, status: Status, measured: str, *, good: str, doubtful: str, bad: str
) -> Check:
    """Make a check whose meaning depends on its status.

    Args:
        number: A key of :data:`NAMES`.
        status: The outcome; not ``"not_run"``.
        measured: The measurements, as text.
        good: Meaning if the check passed.
        doubtful: Meaning if it ended in a warning.
        bad: Meaning if it failed.
    """
    meaning = {"pass": good, "warn": doubtful, "fail": bad}[status]
    return Check(number, status, measured, meaning)


def grade(value: float, *, warn_above: float, fail_above: float) -> Status:
    """Return the status of a value that should be small; NaN fails.

    >>> [grade(x, warn_above=0.2, fail_above=0.5) for x in (0.1, float("nan"))]
    ['pass', 'fail']
    """
    # Negated, because NaN compares false with everything and must fail.
    if not value <= fail_above:
        return "fail"
    return "warn" if value > warn_above else "pass"


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of several statuses; "not_run" if there are none or no check was run.

    >>> worst(["pass", "warn", "not_run"])
    'warn'
    """
    order: tuple[Status, ...] = ("not_run", "pass", "warn", "fail")
    return max(statuses, key=order.index, default="not_run")


def save_card(checks: Sequence[Check], path: Path | str) -> None:
    """Write a card to a JSON file."""
    lines = [asdict(check) | {"name": check.name} for check in checks]
    write_text(Path(path), json.dumps(lines, indent=2, ensure_ascii=False))


def load_card(path: Path | str) -> list[Check]:
    """Read a card written by :func:`save_card`.

    Raises:
        ValueError: If the file does not contain a sanity card.
    """
    try:
        lines = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(lines, list):
            raise TypeError(f"it holds a {type(lines).__name__}")
        fields = ("number", "status", "measured", "meaning")
        return [Check(**{field: line[field] for field in fields}) for line in lines]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected a sanity card in {path}, got something else: {error}"
        ) from error
