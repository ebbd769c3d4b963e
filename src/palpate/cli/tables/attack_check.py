"""Checks an attack, and prints the outcome as tables in the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import nan
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from palpate.attacks import ATTACKS
from palpate.checks import CheckResult
from palpate.data import load_data
from palpate.evaluation import evaluate
from palpate.evaluation.attack_check.checks import check_attack as run_checks
from palpate.evaluation.image_attacks import at_radii
from palpate.evaluation.statistics.curves import success_rate
from palpate.models import load_model
from palpate.pipeline.attacks.images import attacks_of, named_alone
from palpate.pipeline.attacks.universal import ToFit
from palpate.progress import Progress, silent

_MODEL, _DATA = "palpate/tiny", "phantom-endoscopy"


@dataclass(frozen=True)
class AttackCheck:
    """The checks of an attack, and its rows on a trained model.

    Attributes:
        name: Name of the attack.
        attack: The attack at its radius, as text.
        results: The checks.
        rows: Rows of the model without attack, under noise and under the attack; None if a check
            failed or no samples were wanted.
    """

    name: str
    attack: str
    results: Sequence[CheckResult]
    rows: pd.DataFrame | None

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(result.status != "fail" for result in self.results)

    @property
    def plain(self) -> dict[str, Any]:
        """All of it as plain values."""
        scores = [] if self.rows is None else list(map(asdict, _scores(self.rows)))
        checks = list(map(asdict, self.results))
        return {
            "attack": self.attack, "passed": self.passed, "checks": checks, "scores": scores,
        }  # fmt: skip


@dataclass(frozen=True)
class _Score:
    """Scores and costs of one attack on the trained model, as means over images."""

    attack: str
    n: int
    dsc: float
    success: float
    forwards: float
    backwards: float
    seconds: float


def check_attack(
    name: str,
    options: Mapping[str, Any] = {},
    epsilon: float = 8 / 255,
    samples: int = 4,
    progress: Progress = silent,
) -> AttackCheck:
    """Check an attack, and measure its effect on a trained model.

    Args:
        name: Name of the attack, or a function of the user's (``file.py:function``).
        options: Options of the attack, as in a recipe.
        epsilon: Radius of the perturbation, in units of pixel value.
        samples: Phantoms on which ``palpate/tiny`` is attacked; 0 for none.
        progress: Called for every batch of these.

    Raises:
        ValueError: If the attack cannot be run at all.
    """
    label, given = named_alone(name)
    attack = attacks_of({label: {**given, **options}}, [epsilon])[label]
    if isinstance(attack, ToFit):
        raise ValueError(
            f"Expected an attack that can run at once, got {name}, which is fitted to a model "
            "first. Run it in a recipe."
        )
    (at_radius,) = at_radii({label: attack}, [epsilon])[1:]
    found = AttackCheck(label, str(at_radius), run_checks(at_radius), None)
    if not (found.passed and samples):
        return found
    data = load_data(_DATA, split="test", size=224, limit=samples)
    attacks = {"noise": ATTACKS["noise"], label: attack}
    rows = evaluate(load_model(_MODEL), data, attacks, epsilons=[epsilon], progress=progress)
    return replace(found, rows=rows)


def show_attack_check(found: AttackCheck) -> None:
    """Print the checks of an attack, and its effect on a trained model."""
    table = Table("check", "", "seen", title=found.attack, title_justify="left", box=SIMPLE_HEAD)
    for result in found.results:
        table.add_row(result.name, _coloured(result.status), escape(result.seen))
    console = Console()
    console.print(table)
    if found.rows is not None:
        console.print(_score_table(found.rows))


def _score_table(rows: pd.DataFrame) -> Table:
    """Scores and costs on a trained model, without attack and with noise for comparison."""
    count = rows["key"].nunique()
    table = Table(
        "attack", "n", "DSC", "success", "forwards", "backwards", "seconds an image",
        title=f"{_MODEL} on {count} samples of {_DATA}", title_justify="left", box=SIMPLE_HEAD,
    )  # fmt: skip
    for score in _scores(rows):
        table.add_row(
            escape(score.attack),
            str(score.n),
            f"{score.dsc:.3f}",
            f"{100 * score.success:.0f} %" if score.success == score.success else "–",
            *(f"{value:.3g}" for value in (score.forwards, score.backwards, score.seconds)),
        )
    return table


def _scores(rows: pd.DataFrame) -> Iterator[_Score]:
    for attack in ("clean", *(name for name in rows["attack"].unique() if name != "clean")):
        some = rows[rows["attack"] == attack]
        costs = (float(some[column].mean()) for column in ("forwards", "backwards", "seconds"))
        success = nan if attack == "clean" else success_rate(some)
        yield _Score(str(attack), len(some), float(some["dsc"].mean()), success, *costs)


def _coloured(status: str) -> str:
    colour = {"pass": "green", "warn": "yellow", "fail": "red"}[status]
    return f"[{colour}]{status}[/{colour}]"
