"""Names and colours of attacks, norms and outcomes in tables, figures and page."""

from math import isnan
from typing import Final

CONTROL: Final = "noise"
WORST: Final = "worst-case"  # over all white-box attacks of a run, per image
INTERVAL: Final = "95 % interval by the Bayesian bootstrap"
_NAMES: Final = {
    "clean": "Clean",
    CONTROL: "Random noise",
    "unchanged": "Stored, not attacked",
    "fgsm": "FGSM",
    "transfer": "Transfer",
    "universal": "Universal",
    "universal-shuffled": "Universal, shuffled",
    "hopskipjump": "HopSkipJump",
    "simba": "SimBA",
    "spsa": "SPSA",
    "square": "Square",
    "pgd": "PGD",
    "segpgd": "SegPGD",
    "cospgd": "CosPGD",
    "apgd": "APGD",
    "sea": "SEA",
    "ensemble": "Ensemble",
    "medis": "MedIS",
    WORST: "Worst case",
    "bisection": "Bisection",
    "ddn": "DDN",
    "pdpgd": "PDPGD",
    "alma_prox": "ALMA-prox",
    "asma": "ASMA",
    "dag": "DAG",
}
_TEXTS: Final = {
    "text-levels": "Prompt levels, worst",
    "text-levels-best": "Prompt levels, best",
    "text-synonyms": "Synonyms",
    "text-typos": "Typing errors",
    "text-homoglyphs": "Look-alike letters",
    "text-casing": "Capital letters",
    "text-place": "Wrong place",
    "text-size": "Wrong size",
    "text-colour": "Wrong colour",
    "text-shape": "Wrong shape",
    "text-number": "Wrong number",
    "text-side": "Wrong side",
    "text-structure": "Wrong structure",
    "text-negation": "Negation",
    "text-empty": "Empty prompt",
    "text-beside": "Another thing in the image",
    "text-others": "Another image's prompt",
    "text-hotflip": "HotFlip",
    "text-embedding": "PGD on the embedding",
    "joint": "Image and prompt",
}
_NORMS: Final = {"linf": "L∞", "l2": "L2", "normalised": "normalised"}
_PLAIN: Final = ("l2", "normalised")  # whose radii are not grey levels
FAILURES: Final = {
    "none": "held",
    "shifted": "shifted",
    "hallucinated": "hallucinated",
    "vanished": "vanished",
}

# Told apart by people with any colour vision, on white and on near-black; markers differ as well.
_GREY: Final = "#858c96"
_HUES: Final = (
    "#2f86d1", "#e0561f", "#169b76", "#b867ad", "#b98a00",
    "#6b74d6", "#8a5a3c", "#d6457a", "#3aa6b9",
)  # fmt: skip
_MARKS: Final = ("s", "o", "D", "^", "v", "P", "<", ">")
_LEADING: Final = ("fgsm", "pgd")
FAILURE_COLOURS: Final = {
    "none": "#c9ced6",
    "shifted": "#b98a00",
    "hallucinated": "#b867ad",
    "vanished": "#e0561f",
}
SIZE_COLOURS: Final = {"small": "#8d5fd3", "middle": "#169b76", "large": "#b98a00"}
SIZE_MARKS: Final = {"small": "v", "middle": "o", "large": "^"}
# What a changed prompt means, as far as its attack's name tells.
BENIGN, ADVERSARIAL, UNKNOWN = "the same", "something else", ""
TEXT_COLOURS: Final = {BENIGN: "#169b76", ADVERSARIAL: "#e0561f", UNKNOWN: "#858c96"}
TEXT_MARKS: Final = {BENIGN: "o", ADVERSARIAL: "s", UNKNOWN: "D"}
BEFORE: Final = "#1fb6e8"
AFTER: Final = "#ff5a1f"
REFERENCE: Final = "#ffffff"


def attack_label(attack: str) -> str:
    """Display name of an attack.

    >>> attack_label("pgd"), attack_label("my-attack"), attack_label("pgd@40")
    ('PGD', 'my-attack', 'PGD (40)')
    """
    family, budget = budget_of(attack)
    return f"{attack_label(family)} ({budget})" if budget else _NAMES.get(attack, attack)


def budget_rank(attack: str) -> float:
    """Position of an attack among those that differ in their budgets only: by its number."""
    try:
        return float(budget_of(attack)[1])
    except ValueError:
        return 0.0


def budget_of(attack: str) -> tuple[str, str]:
    """Split the name of an attack that was run with several budgets; others have none.

    >>> budget_of("pgd@40"), budget_of("pgd")
    (('pgd', '40'), ('pgd', ''))
    """
    family, _, budget = attack.partition("@")
    return (family, budget) if family and budget else (attack, "")


def epsilon_label(epsilon: float, norm: str = "linf") -> str:
    """Format a radius: in steps of an 8-bit image for L-infinity, as a plain number otherwise.

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


def norm_name(norm: str) -> str:
    """Display name of a norm.

    >>> norm_name("l2")
    'L2'
    """
    return _NORMS.get(norm, norm)


def radius_label(norm: str, epsilon: float) -> str:
    """Format the radius of a ball, with its norm unless that is L-infinity.

    >>> radius_label("linf", 2 / 255), radius_label("l2", 0.5), radius_label("normalised", 0.1)
    ('2/255', 'L2 0.5', '0.1 (normalised)')
    """
    length = epsilon_label(epsilon, norm)
    if norm in ("linf", ""):
        return length
    return f"{length} ({norm})" if norm == "normalised" else f"{norm_name(norm)} {length}"


def norm_label(attack: str, norm: str, epsilon: float) -> str:
    """Format attack and radius in one phrase, with the norm unless that is L-infinity.

    >>> norm_label("pgd", "linf", 2 / 255), norm_label("pgd", "l2", 0.5)
    ('PGD at 2/255', 'PGD at L2 0.5')
    """
    if attack == "clean":
        return attack_label(attack)
    return f"{attack_label(attack)} at {radius_label(norm, epsilon)}"


def seconds_label(seconds: float) -> str:
    """A duration in seconds to two digits, for tables.

    >>> seconds_label(103.5), seconds_label(0.00384)
    ('100', '0.0038')
    """
    return "–" if isnan(seconds) else f"{float(f'{seconds:.2g}'):g}"


def text_label(attack: str, norm: str, epsilon: float) -> str:
    """Name of an attack on the prompt, with the radius of its embedding or image if it has one.

    >>> text_label("text-hotflip", "text", 0.0), text_label("text-embedding", "embedding", 0.5)
    ('HotFlip', 'PGD on the embedding 0.5')
    >>> text_label("joint", "linf", 2 / 255)
    'Image and prompt 2/255'
    """
    name = _TEXTS.get(attack, attack)
    if norm in ("linf", "l2"):
        return f"{name} {epsilon_label(epsilon, norm)}"
    return name if norm == "text" else f"{name} {epsilon:.3g}"


def attack_rank(attack: str) -> int:
    """Position in every list: clean, control, then from simple to strong, then unknown attacks."""
    known, (family, _) = [*_NAMES, *_TEXTS], budget_of(attack)
    return known.index(family) if family in known else len(known)


def colours(attacks: list[str]) -> dict[str, str]:
    """One colour per attack; FGSM and PGD always have theirs, the control is grey.

    With more than nine attacks colours are reused, but never with the same marker.
    """
    return {a: _GREY if a == CONTROL else _HUES[i % len(_HUES)] for a, i in _places(attacks)}


def marks(attacks: list[str]) -> dict[str, str]:
    """One matplotlib marker per attack, so that colour is never the only difference."""
    return {a: "x" if a == CONTROL else _MARKS[i % len(_MARKS)] for a, i in _places(attacks)}


def _places(attacks: list[str]) -> list[tuple[str, int]]:
    others = [a for a in attacks if a not in (*_LEADING, CONTROL)]
    order = [*_LEADING, *others]
    return [(a, order.index(a) if a in order else -1) for a in attacks]
