"""What things are called and which colour they have, the same in every table, figure and page."""

from typing import Final

CONTROL: Final = "noise"
_NAMES: Final = {
    "clean": "Clean",
    CONTROL: "Random noise",
    "unchanged": "Stored, not attacked",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "apgd": "APGD",
    "segpgd": "SegPGD",
    "cospgd": "CosPGD",
    "sea": "SEA",
    "medis": "MedIS",
    "bisection": "Bisection",
    "ddn": "DDN",
    "pdpgd": "PDPGD",
    "alma_prox": "ALMA-prox",
    "asma": "ASMA",
    "dag": "DAG",
}
_NORMS: Final = {"linf": "L∞", "l2": "L2", "normalised": "normalised"}
_PLAIN: Final = ("l2", "normalised")  # whose radii are no grey levels
FAILURES: Final = {
    "none": "held",
    "shifted": "shifted",
    "hallucinated": "hallucinated",
    "vanished": "vanished",
}

# Told apart by people with any colour vision, on white and on near-black; markers differ as well.
_GREY: Final = "#858c96"
_HUES: Final = ("#2f86d1", "#e0561f", "#169b76", "#b867ad", "#b98a00", "#6b74d6")
_MARKS: Final = ("s", "o", "D", "^", "v", "P")
_LEADING: Final = ("fgsm", "pgd")
FAILURE_COLOURS: Final = {
    "none": "#c9ced6",
    "shifted": "#b98a00",
    "hallucinated": "#b867ad",
    "vanished": "#e0561f",
}
SIZE_COLOURS: Final = {"small": "#8d5fd3", "middle": "#169b76", "large": "#b98a00"}
SIZE_MARKS: Final = {"small": "v", "middle": "o", "large": "^"}
BEFORE: Final = "#1fb6e8"
AFTER: Final = "#ff5a1f"
REFERENCE: Final = "#ffffff"


def attack_label(attack: str) -> str:
    """Name for readers.

    >>> attack_label("pgd"), attack_label("my-attack")
    ('PGD', 'my-attack')
    """
    return _NAMES.get(attack, attack)


def epsilon_label(epsilon: float, norm: str = "linf") -> str:
    """Radius as people quote it: steps of an 8-bit image for L-infinity, plain for L2.

    >>> epsilon_label(8 / 255), epsilon_label(0.01), epsilon_label(0.5, "l2")
    ('8/255', '2.55/255', '0.5')
    """
    return f"{epsilon:.3g}" if norm in _PLAIN else f"{round(epsilon * 255, 3):.4g}/255"


def length_label(length: float, norm: str) -> str:
    """A measured length in the unit of radii, to three digits.

    >>> length_label(0.012345, "linf"), length_label(1.23456, "l2")
    ('3.15/255', '1.23')
    """
    unit = 1.0 if norm == "l2" else 255.0
    return epsilon_label(float(f"{length * unit:.3g}") / unit, norm)


def norm_label(attack: str, norm: str, epsilon: float) -> str:
    """Attack and radius in one phrase; the norm is said where it is not L-infinity.

    >>> norm_label("pgd", "linf", 2 / 255), norm_label("pgd", "l2", 0.5)
    ('PGD at 2/255', 'PGD at L2 0.5')
    """
    if attack == "clean":
        return attack_label(attack)
    prefix = "" if norm in ("linf", "") else f"{_NORMS.get(norm, norm)} "
    return f"{attack_label(attack)} at {prefix}{epsilon_label(epsilon, norm)}"


def attack_rank(attack: str) -> int:
    """Place in every list: clean, control, then from simple to strong, then the unknown."""
    known = list(_NAMES)
    return known.index(attack) if attack in known else len(known)


def colours(attacks: list[str]) -> dict[str, str]:
    """One colour per attack; FGSM and PGD always have theirs, the control is grey."""
    return {a: _GREY if a == CONTROL else _HUES[i % len(_HUES)] for a, i in _places(attacks)}


def marks(attacks: list[str]) -> dict[str, str]:
    """One matplotlib marker per attack, so that colour is never the only difference."""
    return {a: "x" if a == CONTROL else _MARKS[i % len(_MARKS)] for a, i in _places(attacks)}


def _places(attacks: list[str]) -> list[tuple[str, int]]:
    others = [a for a in attacks if a not in (*_LEADING, CONTROL)]
    order = [*_LEADING, *others]
    return [(a, order.index(a) if a in order else -1) for a in attacks]
