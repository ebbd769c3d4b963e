"""Prints the checks of an attack as tables in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from palpate.attacks import ATTACKS
from palpate.data import load_data
from palpate.evaluation import evaluate
from palpate.evaluation.attack_check.checks import check_attack as run_checks
from palpate.evaluation.image_attacks import at_radii
from palpate.evaluation.statistics.curves import success_rate
from palpate.models import load_model
from palpate.pipeline.attack_config import attacks_of, named_alone
from palpate.pipeline.universal import ToFit
from palpate.progress import Progress, silent
from palpate.types import Attack

_MODEL, _DATA = "palpate/tiny", "phantom-endoscopy"


def check_attack(
    name: str,
    options: Mapping[str, Any] = {},
    epsilon: float = 8 / 255,
    samples: int = 4,
    progress: Progress = silent,
) -> bool:
    """Print the checks of an attack, and its effect on a trained model.

    Args:
        name: Name of the attack, or a function of the user's (``file.py:function``).
        options: Options of the attack, as in a recipe.
        epsilon: Radius of the perturbation, in units of pixel value.
        samples: Phantoms on which ``palpate/tiny`` is attacked; 0 for none.
        progress: Called for every batch of these.

    Returns:
        Whether all checks passed.

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
    table = Table("check", "", "seen", title=str(at_radius), title_justify="left", box=SIMPLE_HEAD)
    findings = run_checks(at_radius)
    for finding in findings:
        table.add_row(finding.name, _coloured(finding.status), escape(finding.seen))
    console = Console()
    console.print(table)
    passed = all(finding.status != "fail" for finding in findings)
    if passed and samples:
        console.print(_scores(label, attack, epsilon, samples, progress))
    return passed


def _scores(name: str, attack: Attack, epsilon: float, samples: int, progress: Progress) -> Table:
    """Scores and costs on a trained model, with noise for comparison."""
    data = load_data(_DATA, split="test", size=224, limit=samples)
    attacks = {"noise": ATTACKS["noise"], name: attack}
    rows = evaluate(load_model(_MODEL), data, attacks, epsilons=[epsilon], progress=progress)
    table = Table(
        "attack", "DSC", "success", "forwards", "backwards", "seconds an image",
        title=f"{_MODEL} on {len(data)} samples of {_DATA}", title_justify="left", box=SIMPLE_HEAD,
    )  # fmt: skip
    for label, some in rows.groupby("attack", sort=False):
        success = success_rate(some)
        table.add_row(
            escape(str(label)),
            f"{some['dsc'].mean():.3f}",
            f"{100 * success:.0f} %" if success == success else "–",
            *(f"{some[column].mean():.3g}" for column in ("forwards", "backwards", "seconds")),
        )
    return table


def _coloured(status: str) -> str:
    colour = {"pass": "green", "warn": "yellow", "fail": "red"}[status]
    return f"[{colour}]{status}[/{colour}]"
