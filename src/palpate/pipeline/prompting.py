"""Attacks on the prompt that a recipe names, alone or together with one on the image."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from palpate.attacks.text import TEXT_ATTACKS, TextAttack, embedding
from palpate.evaluation import Joint
from palpate.evaluation.text_trials import AnyTextAttack
from palpate.pipeline.attacking import (
    JOINT,
    Options,
    check_options,
    configured,
    is_on_text,
    which,
)

_EMBEDDING = "text-embedding"
_GIVEN = ("view", "source", "generator")  # to candidates, by the evaluation
_OF_JOINT = ("image", "text", "rounds", "epsilon_255")


def text_attacks_of(options: Options) -> dict[str, AnyTextAttack]:
    """Configured attacks on the text, by their names in the table.

    Args:
        options: Name to options, as in a recipe; attacks on the image are passed over. ``joint``
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
    if not {"image", "text", "epsilon_255"} <= options.keys():
        raise ValueError(
            f"Expected attack {name!r} to say which attacks it joins: `{name}: {{attack: joint, "
            "image: pgd, epsilon_255: 2, text: text-hotflip}`."
        )
    image, text = (_named(options[part]) for part in ("image", "text"))
    if which("", text) not in TEXT_ATTACKS:
        raise ValueError(
            f"Expected `text` of attack {name!r} to be one of {', '.join(TEXT_ATTACKS)}, got "
            f"{which('', text)!r}."
        )
    on_image = partial(configured(name, image), epsilon=options["epsilon_255"] / 255)
    on_text = _configured(name, text)
    assert isinstance(on_text, TextAttack)
    return Joint(on_image, on_text, options.get("rounds", 2), which("", image))


def _named(value: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"attack": value} if isinstance(value, str) else dict(value)
