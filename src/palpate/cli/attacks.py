"""``palpate attacks``: list all attacks, and test one."""

import tyro

from palpate.cli.mappings import values
from palpate.cli.progress_bars import show_progress


def attacks() -> None:
    """List all attacks with their options.

    `palpate attacks check NAME` tests an attack, or a function of yours.
    """
    from palpate.cli.tables.attack_list import show_attacks

    show_attacks()


def check(
    name: tyro.conf.Positional[str],
    options: dict[str, str] | None = None,
    epsilon_255: float = 8.0,
    samples: int = 4,
) -> None:
    """Test an attack: radius, pixel range, independence of images in a batch, repeatability.

    Args:
        name: Name of the attack, or your own function (file.py:function).
        options: Options of the attack, as NAME VALUE ...; values are read as YAML.
        epsilon_255: Radius of the perturbation, in steps of an 8-bit image (8 means 8/255).
        samples: Phantoms on which palpate/tiny is attacked afterwards; 0 for none.
    """
    from palpate.cli.tables.attack_check import check_attack

    with show_progress() as progress:
        passed = check_attack(name, values(options), epsilon_255 / 255, samples, progress)
    if not passed:
        raise ValueError(f"{name} does not work as an attack must; see the failed checks above.")
