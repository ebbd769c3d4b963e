"""The checks of the sanity card, and the card as a file."""

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
}


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        number: As in :data:`NAMES`; several checks may have the same number.
        status: ``"fail"`` means that the measured robustness cannot be trusted as it stands,
            ``"warn"`` that readers must be told, ``"not_run"`` that the check was not run.
        measured: The evidence, in numbers.
        meaning: What follows from it, in a sentence for the reader of the report.
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
    """A check whose meaning depends on how it came out: pass, warn or fail."""
    meaning = {"pass": good, "warn": doubtful, "fail": bad}[status]
    return Check(number, status, measured, meaning)


def grade(value: float, *, warn_above: float, fail_above: float) -> Status:
    """Status of a number that should be small; what is not a number fails.

    >>> [grade(x, warn_above=0.2, fail_above=0.5) for x in (0.1, float("nan"))]
    ['pass', 'fail']
    """
    if not value <= fail_above:
        return "fail"
    return "warn" if value > warn_above else "pass"


def worst(statuses: Iterable[Status]) -> Status:
    """The status of a card: its worst check; "not_run" where nothing ran.

    >>> worst(["pass", "warn", "not_run"])
    'warn'
    """
    order: tuple[Status, ...] = ("not_run", "pass", "warn", "fail")
    return max(statuses, key=order.index, default="not_run")


def save_card(checks: Sequence[Check], path: Path | str) -> None:
    """Write a card as JSON."""
    lines = [asdict(check) | {"name": check.name} for check in checks]
    write_text(Path(path), json.dumps(lines, indent=2, ensure_ascii=False))


def load_card(path: Path | str) -> list[Check]:
    """Read a card that :func:`save_card` wrote.

    Raises:
        ValueError: If the file is something else.
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
