"""``palpate attacks``: list all attacks, and test one."""

from pathlib import Path

import tyro

from palpate.cli.json_output import check_target, give
from palpate.cli.mappings import values
from palpate.cli.progress_bars import show_progress


def attacks(json: Path | None = None) -> None:
    """List all attacks with their options.

    `palpate attacks check NAME` tests an attack, or a function of yours.

    Args:
        json: Print the list as JSON, or write it to this file.
    """
    from palpate.cli.tables.attack_list import listed_attacks, show_attacks

    give(listed_attacks, show_attacks, json)


def check(
    name: tyro.conf.Positional[str],
    options: dict[str, str] | None = None,
    epsilon_255: float = 8.0,
    samples: int = 4,
    json: Path | None = None,
) -> None:
    """Test an attack: radius, pixel range, independence of images in a batch, repeatability.

    Args:
        name: Name of the attack, or your own function (file.py:function).
        options: Options of the attack, as NAME VALUE ...; values are read as YAML.
        epsilon_255: Radius of the perturbation, in units of 1/255 (8 means 8/255).
        samples: Phantoms on which palpate/tiny is attacked afterwards; 0 for none.
        json: Print the checks as JSON, or write them to this file.
    """
    from palpate.cli.tables.attack_check import check_attack, show_attack_check

    check_target(json)
    with show_progress() as progress:
        found = check_attack(name, values(options), epsilon_255 / 255, samples, progress)
    give(lambda: found.plain, lambda: show_attack_check(found), json)
    if not found.passed:
        raise ValueError(f"{name} does not work as an attack must; see the failed checks above.")
