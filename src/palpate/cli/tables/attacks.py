"""The attacks there are, and checks of one, as tables for the terminal."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from palpate.attacks import ATTACKS, LOSSES
from palpate.attacks.text import TEXT_ATTACKS, joint
from palpate.attacks.threats import ANYWHERE, CONSTRAINTS, LATTICE
from palpate.data import load_data
from palpate.evaluation import evaluate
from palpate.evaluation.attack_check.checks import check_attack as run_checks
from palpate.evaluation.image_attacks import at_radii
from palpate.evaluation.statistics.curves import success_rate
from palpate.models import load_model
from palpate.pipeline.attack_config import JOINT, attacks_of, named_alone
from palpate.pipeline.universal import ToFit
from palpate.progress import Progress, silent
from palpate.types import Attack

_MODEL, _DATA = "palpate/tiny", "phantom-endoscopy"
_GIVEN = {"epsilon", "generator", "threshold", "std", "truth"}  # by the evaluation, not the user


def show_attacks() -> None:
    """Print every attack with what it takes, and what can be said of loss and threat model."""
    console = Console()
    about = Column("on the image", overflow="fold")  # what is cut off of an address is no use
    on_image = Table("attack", about, "options", box=SIMPLE_HEAD)
    for name, attack in ATTACKS.items():
        on_image.add_row(name, _about(attack), escape(", ".join(_options(attack))))
    about = Column("on the prompt", overflow="fold")
    on_prompt = Table("attack", about, "a text that still means", box=SIMPLE_HEAD)
    for name, texts in TEXT_ATTACKS.items():
        same = "the same" if texts.kind == "benign" else "something else, or nothing"
        on_prompt.add_row(name, _about(texts.candidates), same)
    both = f"{_about(joint)} Takes image, text, epsilon_255 and rounds."
    on_prompt.add_row(JOINT, both, "whatever its text means")
    names = Table.grid(padding=(0, 2))
    names.add_row("  loss", ", ".join(LOSSES))
    names.add_row("  within", ", ".join((ANYWHERE, *CONSTRAINTS, LATTICE)))
    console.print(on_image, on_prompt, names)


def check_attack(
    name: str,
    options: Mapping[str, Any] = {},
    epsilon: float = 8 / 255,
    samples: int = 4,
    progress: Progress = silent,
) -> bool:
    """Print what the checks of an attack find, and what it does to a trained model.

    Args:
        name: Of the attack, or code of one's own (``file.py:function``).
        options: Of the attack, as in a recipe.
        epsilon: Radius to try it at, in units of pixel value.
        samples: Phantoms that are attacked on ``palpate/tiny``; 0 for none.
        progress: Told about these.

    Returns:
        Whether none has failed.

    Raises:
        ValueError: If it cannot be run at all.
    """
    label, given = named_alone(name)
    attack = attacks_of({label: {**given, **options}}, [epsilon])[label]
    if isinstance(attack, ToFit):
        raise ValueError(f"{name} is fitted to a model before it attacks; run it in a recipe.")
    (at_radius,) = at_radii({label: attack}, [epsilon])[1:]
    table = Table("check", "", "seen", title=str(at_radius), title_justify="left", box=SIMPLE_HEAD)
    findings = run_checks(at_radius)
    for finding in findings:
        table.add_row(finding.name, _coloured(finding.status), escape(finding.seen))
    console = Console()
    console.print(table)
    fit = all(finding.status != "fail" for finding in findings)
    if fit and samples:
        console.print(_pressed(label, attack, epsilon, samples, progress))
    return fit


def _pressed(name: str, attack: Attack, epsilon: float, samples: int, progress: Progress) -> Table:
    """Scores and costs beside noise, on a trained model."""
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


def _about(attack: Callable[..., Any]) -> str:
    function = attack.func if isinstance(attack, partial) else attack
    first = (inspect.getdoc(function) or "").partition("\n\n")[0]
    return escape(re.sub(r":\w+:`~?\.?([^`]*)`", r"\1", " ".join(first.split())))


def _options(attack: Attack) -> Iterator[str]:
    """What can be said in a recipe, with what holds if it is not said."""
    for parameter in list(inspect.signature(attack).parameters.values())[3:]:
        if parameter.name not in _GIVEN:
            value = parameter.default
            plain = isinstance(value, bool | int | float | str)
            shown = f"{value:.4g}" if isinstance(value, float) else value
            yield f"{parameter.name}={shown}" if plain else parameter.name


def _coloured(status: str) -> str:
    colour = {"pass": "green", "warn": "yellow", "fail": "red"}[status]
    return f"[{colour}]{status}[/{colour}]"
