"""Configures attacks on the prompt, alone or with the image, from the entries of a recipe."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from palpate.attacks.text import TEXT_ATTACKS, TextAttack, embedding
from palpate.evaluation import Joint
from palpate.evaluation.text.conditions import AnyTextAttack
from palpate.grey_levels import grey_levels
from palpate.pipeline.attacks.images import (
    JOINT,
    Options,
    check_options,
    configured,
    is_on_text,
    rehearse,
    which,
)

_EMBEDDING = "text-embedding"
_GIVEN = ("view", "source", "generator")  # arguments that the evaluation passes to candidates
_NEEDED = ("image", "text", "epsilon_255")  # required options of a joint attack
_OF_JOINT = (*_NEEDED, "rounds")


def text_attacks_of(options: Options) -> dict[str, AnyTextAttack]:
    """Configure the attacks on the text.

    Args:
        options: Options by name, as in a recipe; attacks that are not on the text are skipped. The
            options of ``joint`` are ``image`` and ``text``, each an attack by name or with
            options; ``epsilon_255``, the radius of the attack on the image; and ``rounds``.

    Returns:
        The attacks by their names in the rows.

    Raises:
        ValueError: If an attack or option does not exist, or the value of an option is invalid.
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
    """Convert a radius from steps of an 8-bit image to units of pixel value."""
    try:
        return grey_levels(steps) / 255
    except ValueError as error:
        raise ValueError(f"Expected one radius `epsilon_255` of attack {name!r}: {error}") from None


def _named(value: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"attack": value} if isinstance(value, str) else dict(value)
