"""``palpate attacks``: what attacks there are, and whether one can be believed."""

import tyro

from palpate.cli.mappings import values
from palpate.pipeline import watching


def attacks() -> None:
    """Print every attack with what it takes."""
    from palpate.cli.tables.attacks import show_attacks

    show_attacks()


def check_attack(
    name: tyro.conf.Positional[str],
    options: dict[str, str] | None = None,
    epsilon_255: float = 8.0,
    samples: int = 4,
) -> None:
    """Check what an attack owes its caller: ball, range, independence of images, repeatability.

    Args:
        name: Of the attack, or code of your own (file.py:function).
        options: Of the attack, as NAME VALUE ...; values are read as YAML.
        epsilon_255: Radius to try it at, in steps of an 8-bit image (1 = 1/255).
        samples: Phantoms that palpate/tiny is attacked on afterwards; 0 for none.
    """
    from palpate.cli.tables.attacks import check_attack

    with watching() as progress:
        fit = check_attack(name, values(options), epsilon_255 / 255, samples, progress)
    if not fit:
        raise ValueError(f"{name} is not fit to be believed; see what failed above.")
