"""Attacks on images, from the entries of a recipe to functions that were tried out once."""

import inspect
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch

from palpate.attacks import ATTACKS, LOSSES, UnbrokenWarning, UniversalPerturbation
from palpate.attacks.text import TEXT_ATTACKS
from palpate.errors import did_you_mean
from palpate.models import PixelModel, load_model
from palpate.pipeline.config import MEDIS
from palpate.pipeline.universal import FIT, ToFit
from palpate.types import Attack, Images, Logits, Loss
from palpate.user_code import is_code, load_code, said

Options = Mapping[str, Mapping[str, Any]]
Forms = Mapping[str, tuple[Attack, Mapping[str, Any]]]

JOINT = "joint"  # an attack on image and text together


def which(name: str, options: Mapping[str, Any]) -> str:
    """The attack that an entry stands for: its option ``attack``, or else its name."""
    return str(options.get("attack", name))


def named_alone(attack: str) -> tuple[str, dict[str, str]]:
    """Name in the table and options of an attack that is given by its name alone.

    >>> named_alone("pgd"), named_alone("mine.py:press")
    (('pgd', {}), ('press', {'attack': 'mine.py:press'}))
    """
    return (attack.rpartition(":")[2], {"attack": attack}) if is_code(attack) else (attack, {})


def is_on_text(name: str, options: Mapping[str, Any]) -> bool:
    """Whether an attack of a recipe changes the prompt."""
    return which(name, options) in (*TEXT_ATTACKS, JOINT)


def is_medis(name: str, options: Mapping[str, Any]) -> bool:
    """Whether an entry of a recipe stands for the tables of MedIS."""
    return which(name, options) == MEDIS


def attacks_of(
    options: Options, epsilons: Sequence[float], forms: Forms = MappingProxyType({})
) -> dict[str, Attack | ToFit]:
    """Configured attacks on the image by their names in the table.

    Args:
        options: Name to options, as in a recipe; ``attack`` names the attack itself where it
            differs from that name. Attacks on the text and the tables of MedIS are left out.
        epsilons: Radii they will be run at, in units of pixel value or of the protocol.
        forms: Attacks that a protocol runs in a form of its own, with the options it sets.

    Raises:
        ValueError: If there is no such attack, option or loss, or an option's value is refused.
        FileNotFoundError: If a file that an option names is not there.
    """
    largest = max(epsilons, default=1 / 255)
    attacks = {
        name: _configured(name, dict(given), forms, largest)
        for name, given in options.items()
        if not is_on_text(name, given) and not is_medis(name, given)
    }
    for name, attack in attacks.items():
        # The smallest too: a ball can be too small for a lattice of grey levels.
        for epsilon in {min(epsilons), largest} if epsilons else {None}:
            rehearse(name, attack, epsilon)
    return attacks


def configured(name: str, options: Mapping[str, Any]) -> Attack:
    """An attack that is an option of another one, which binds its radius.

    Raises:
        ValueError: If it cannot be configured, or must be fitted first.
    """
    attack = _configured(name, dict(options), {}, 0.0)
    if isinstance(attack, ToFit):
        raise ValueError(
            f"Expected an attack inside {name!r} that is ready, got one to be fitted; name the "
            "file of a perturbation that was (perturbation: FILE)."
        )
    return attack


def check_options(name: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse options that an attack does not have.

    Raises:
        ValueError: If it has no such option.
    """
    for option in options:
        if option not in known:
            raise ValueError(
                f"Attack {name!r} has no option {option!r}; expected some of {', '.join(known)}."
                f"{did_you_mean(option, known)}"
            )


def rehearse(name: str, attack: Attack | ToFit, epsilon: float | None) -> None:
    """Run an attack once on a toy model, so that a wrong option is found before the training.

    Raises:
        ValueError: If it cannot be run so, or needs a radius and there is none.
    """
    images = torch.full((1, 3, 4, 4), 128 / 255)  # a whole grey level
    masks = torch.eye(4, dtype=torch.bool)[None, None]
    try:
        if isinstance(attack, ToFit):
            (attack, *_) = attack.rehearsed(_brightness, images, masks)
        attack = _on_nothing_else(attack, masks)
        strength = _strength(attack, epsilon)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnbrokenWarning)  # it is about the toy model
            answer = attack(_brightness, images, masks, **strength)
    except (ValueError, TypeError) as error:
        hint = _numbers_as_text(attack)
        raise ValueError(f"Attack {name!r} cannot be run: {error}{hint}") from error
    except Exception as error:  # code of the user's own may raise anything
        raise ValueError(f"Attack {name!r} cannot be run: {said(error)}.") from error
    if getattr(answer, "shape", None) != images.shape:
        raise ValueError(
            f"Expected attack {name!r} to return images of shape {tuple(images.shape)}, got "
            f"{getattr(answer, 'shape', type(answer).__name__)}."
        )


def _configured(name: str, options: dict[str, Any], forms: Forms, largest: float) -> Attack | ToFit:
    attack = str(options.pop("attack", name))
    function, set_already = _function(attack, forms)
    known = _options_of(function, attack)
    fits = FIT in options and "perturbation" in known
    check_options(name, options, [*known, FIT] if fits else known)
    fit = options.pop(FIT, None)
    values = dict(_values(options, attack, largest))
    bound = partial(function, **(dict(set_already) | values))
    return ToFit.of(name, bound, fit, largest, _loss) if fits else bound


def _function(attack: str, forms: Forms) -> tuple[Attack, Mapping[str, Any]]:
    """The attack of that name, and the options that the protocol sets."""
    if is_code(attack):
        return load_code(attack, "an attack")[1], {}
    if attack not in ATTACKS:
        names = (*ATTACKS, *TEXT_ATTACKS, JOINT, MEDIS)
        raise ValueError(
            f"There is no attack {attack!r}; expected one of {', '.join(names)}, or one of your "
            f"own as file.py:function.{did_you_mean(attack, names)} An attack under another name "
            "in the table says which it is: `my-name: {attack: pgd, steps: 100}`."
        )
    if forms and attack not in forms:
        raise ValueError(
            f"Attack {attack!r} has no published form; under this protocol expected some of "
            f"{', '.join(forms)}."
        )
    return forms.get(attack, (ATTACKS[attack], {}))


def _options_of(function: Attack, attack: str) -> list[str]:
    """The options of an attack: its arguments after model, images and masks."""
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 3 or any(p.kind is p.KEYWORD_ONLY for p in parameters[:3]):
        raise ValueError(
            f"Expected {attack} to be an attack (model, images, masks, *, epsilon, ...), got "
            f"{attack.rpartition(':')[2]}{inspect.signature(function)}."
        )
    return [parameter.name for parameter in parameters[3:]]


def _values(options: Mapping[str, Any], attack: str, largest: float) -> Iterator[tuple[str, Any]]:
    """The options of an attack from the plain values of a recipe."""
    for option, value in options.items():
        if option == "loss":
            yield option, _loss(value)
        elif option == "losses" and attack != "medis":  # whose names depend on its rules
            yield option, tuple(map(_loss, value))
        elif option == "perturbation" and isinstance(value, str):
            yield option, UniversalPerturbation.load(value)
        elif option == "surrogate" and isinstance(value, str):
            yield option, _surrogate(value)
        elif option == "inner":
            yield option, _configured("inner", _named(value), {}, largest)
        else:
            yield option, value


def _loss(name: str) -> Loss:
    if is_code(str(name)):
        return load_code(name, "a loss")[1]  # type: ignore[no-any-return]
    if name not in LOSSES:
        raise ValueError(
            f"There is no loss {name!r}; expected one of {', '.join(LOSSES)}, or one of your own "
            f"as file.py:function.{did_you_mean(str(name), LOSSES)}"
        )
    return LOSSES[name]


def _surrogate(name_or_directory: str) -> PixelModel:
    return load_model(name_or_directory).requires_grad_(False)


def _named(inner: str | Mapping[str, Any]) -> dict[str, Any]:
    """The options of an attack inside another, which may be given by its name alone."""
    return {"attack": inner} if isinstance(inner, str) else dict(inner)


def _on_nothing_else(attack: Attack, masks: torch.Tensor) -> Attack:
    """The attack without its surrogate, and with toy masks where it needs a bank."""
    if not isinstance(attack, partial):
        return attack
    bound = {k: v for k, v in attack.keywords.items() if k != "surrogate"}
    if wants_bank(attack):
        bound["bank"] = torch.cat([~masks, masks.flip(-1)])
    return partial(attack.func, **bound)


def wants_bank(attack: object) -> bool:
    """Whether an attack chooses its target from masks and has none bound."""
    if not isinstance(attack, partial) or "bank" in attack.keywords:
        return False
    return attack.keywords.get("target") in ("random", "nearest")


def _brightness(images: Images, prompts: object = None) -> Logits:
    del prompts
    return images.mean(dim=1, keepdim=True) - 0.4


def _numbers_as_text(attack: Attack | ToFit) -> str:
    """A hint if an option is a text that looks like a number: YAML reads 1e-2 as a text."""
    options = attack.keywords if isinstance(attack, partial) else {}
    texts = [value for value in options.values() if isinstance(value, str)]
    found = [text for text in texts if re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", text)]
    return f". YAML reads {found[0]} as a text; write it with a point, as 1.0e-2." if found else ""


def _strength(attack: Attack, epsilon: float | None) -> dict[str, float]:
    """The radius for an attack that takes one and has none bound."""
    wanted = inspect.signature(attack).parameters.get("epsilon")
    if wanted is None or _is_bound(attack):
        return {}
    if epsilon is not None:
        return {"epsilon": epsilon}
    if isinstance(wanted.default, int | float):
        return {}
    raise ValueError("it needs a radius, and there is none; give evaluate.epsilon_255 at least one")


def _is_bound(attack: Attack) -> bool:
    return isinstance(attack, partial) and "epsilon" in attack.keywords
