"""Attacks on the prompt, alone or with the image, from the entries of a recipe."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from palpate.attacks.text import TEXT_ATTACKS, TextAttack, embedding
from palpate.evaluation import Joint
from palpate.evaluation.text.conditions import AnyTextAttack
from palpate.pipeline.attack_config import (
    JOINT,
    Options,
    check_options,
    configured,
    is_on_text,
    rehearse,
    which,
)

_EMBEDDING = "text-embedding"
_GIVEN = ("view", "source", "generator")  # to candidates, by the evaluation
_NEEDED = ("image", "text", "epsilon_255")  # of a joint attack
_OF_JOINT = (*_NEEDED, "rounds")


def text_attacks_of(options: Options) -> dict[str, AnyTextAttack]:
    """Configured attacks on the text, by their names in the table.

    Args:
        options: Name to options, as in a recipe; other attacks are left out. ``joint``
            takes ``image`` and ``text``, an attack each, by name or with options, the radius
            ``epsilon_255`` of the image's, and ``rounds``.

    Raises:
        ValueError: If there is no such attack or option, or an option's value is refused.
    """
    return {
        name: _configured(name, given) for name, given in options.items() if is_on_text(name, given)
    }


def _configured(name: str, given: Mapping[str, Any]) -> AnyTextAttack:
    attack = which(name, given)
    options = {key: value for key, value in given.items() if key != "attack"}
    if attack == JOINT:
        return _joint(name, options)
    return _alone(name, attack, options)


def _alone(name: str, attack: str, options: Mapping[str, Any]) -> TextAttack:
    if attack == _EMBEDDING:
        check_options(name, options, list(inspect.signature(embedding).parameters))
        return embedding(**options) if options else TEXT_ATTACKS[attack]
    known = TEXT_ATTACKS[attack]
    bound = known.candidates.keywords if isinstance(known.candidates, partial) else {}
    parameters = inspect.signature(known.candidates).parameters
    check_options(name, options, [p for p in parameters if p not in (*_GIVEN, *bound)])
    return replace(known, candidates=partial(known.candidates, **options)) if options else known


def _joint(name: str, options: Mapping[str, Any]) -> Joint:
    check_options(name, options, _OF_JOINT)
    if missing := [key for key in _NEEDED if options.get(key) is None]:
        raise ValueError(
            f"Attack {name!r} lacks {', '.join(missing)}; expected the attack on the image, its "
            f"radius and the attack on the text: `{name}: {{attack: joint, image: pgd, "
            "epsilon_255: 2, text: text-hotflip}`."
        )
    image, text = (_named(options[part]) for part in ("image", "text"))
    if which("", text) not in TEXT_ATTACKS:
        raise ValueError(
            f"Expected `text` of attack {name!r} to be one of {', '.join(TEXT_ATTACKS)}, got "
            f"{which('', text)!r}."
        )
    epsilon, rounds = _radius(name, options["epsilon_255"]), options.get("rounds", 2)
    if not isinstance(rounds, int) or rounds < 1:
        raise ValueError(f"Expected `rounds` of attack {name!r} to be 1 or more, got {rounds!r}.")
    on_image = partial(configured(name, image), epsilon=epsilon)
    rehearse(name, on_image, epsilon)
    on_text = _configured(name, text)
    assert isinstance(on_text, TextAttack)
    return Joint(on_image, on_text, rounds, which("", image))


def _radius(name: str, steps: object) -> float:
    """In units of pixel value, from steps of an 8-bit image."""
    if not isinstance(steps, int | float) or not 0 < steps <= 255:
        raise ValueError(
            f"Expected one radius `epsilon_255` of attack {name!r} in steps of an 8-bit image, 8 "
            f"for 8/255, got {steps!r}."
        )
    return steps / 255


def _named(value: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"attack": value} if isinstance(value, str) else dict(value)
