"""Entries of a recipe's attacks: what an attack is compared with, and its budgets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from palpate.errors import did_you_mean
from palpate.pipeline.attacks.images import named_alone, which
from palpate.user_code import is_code

AGAINST: Final = "against"
BUDGETS: Final = "budgets"

Entries = Mapping[str, Mapping[str, Any]]


def entries(attacks: Entries) -> dict[str, dict[str, Any]]:
    """The attacks of a recipe with their own options only, one for each budget.

    >>> entries({"mine": {"budgets": {"steps": [5, 20]}, "against": "pgd"}, "pgd": {}})["mine@5"]
    {'attack': 'mine', 'steps': 5}

    Raises:
        ValueError: If the budgets of an attack are not a list of values of one option, or it is
            compared with an attack that the recipe does not have.
    """
    rivals_of(attacks)
    return {name: options for entry in attacks.items() for name, options in _expanded(*entry)}


def rivals_of(attacks: Entries) -> dict[str, list[str]]:
    """For each attack of a recipe that has ``against``, the attacks to compare it with.

    Raises:
        ValueError: If the recipe does not have them.
    """
    found: dict[str, list[str]] = {}
    for name, options in attacks.items():
        given = options.get(AGAINST)
        if given is None:
            continue
        found[name] = [given] if isinstance(given, str) else list(given)
        others = [other for other in attacks if other != name]
        for rival in found[name]:
            if rival not in others:
                raise ValueError(
                    f"Expected `{AGAINST}` of attack {name!r} to be another attack of the recipe "
                    f"({', '.join(others) or 'there is none'}), got {rival!r}."
                    f"{did_you_mean(str(rival), others)} Add it to evaluate.attacks."
                )
    return found


def given_by_name(names: Iterable[str], known: Entries) -> dict[str, Mapping[str, Any]]:
    """The entries of attacks that are given by name only, as on a command line.

    >>> given_by_name(["pgd", "mine.py:press"], {"pgd": {"steps": 40}})
    {'pgd': {'steps': 40}, 'press': {'attack': 'mine.py:press'}}

    Args:
        names: Names of entries or attacks, or code (``file.py:function``), which is called by the
            name of its function unless an entry has its name.
        known: Entries whose options are used.

    Raises:
        ValueError: If two different attacks would have one name.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for name in names:
        label, given = (name, {}) if name in known else named_alone(name)
        options = known.get(label, given)
        differs = is_code(name) and name not in known and which(label, options) != name
        if differs or found.get(label, options) != options:
            raise ValueError(
                f"Expected one attack called {label!r}, got {name} and another of that name. "
                "Rename the function, or name each in a recipe: "
                f"evaluate.attacks: {{my-{label}: {{attack: {name}}}}}."
            )
        found[label] = options
    return found


def without_rivals(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an attack that is run without those that it is compared with."""
    return {key: value for key, value in options.items() if key != AGAINST}


def _expanded(name: str, options: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    own = {key: value for key, value in options.items() if key not in (AGAINST, BUDGETS)}
    if BUDGETS not in options:
        yield name, own
        return
    given = options[BUDGETS]
    if not isinstance(given, Mapping) or len(given) != 1 or not _is_list(*given.values()):
        raise ValueError(
            f"Expected `{BUDGETS}` of attack {name!r} to be one option with a list of values, as "
            f"`{BUDGETS}: {{steps: [10, 40, 160]}}`, got {given!r}."
        )
    ((option, values),) = given.items()
    for value in values:
        yield f"{name}@{value}", {"attack": name, **own, option: value}


def _is_list(values: object) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0
