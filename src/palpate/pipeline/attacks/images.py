"""Configures attacks on images from the entries of a recipe, and tries each out once."""

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
from palpate.located import located
from palpate.models import PixelModel, load_model
from palpate.pipeline.attacks.universal import FIT, ToFit
from palpate.pipeline.recipe.config import MEDIS
from palpate.types import Attack, Images, Logits, Loss
from palpate.user_code import is_code, load_code, said

Options = Mapping[str, Mapping[str, Any]]
Forms = Mapping[str, tuple[Attack, Mapping[str, Any]]]

JOINT = "joint"  # name in recipes of attacks on image and text together


def which(name: str, options: Mapping[str, Any]) -> str:
    """Name of the attack of an entry: its option ``attack``, or else the name of the entry."""
    return str(options.get("attack", name))


def named_alone(attack: str) -> tuple[str, dict[str, str]]:
    """Return name in the rows and options of an attack that is given by name only.

    >>> named_alone("pgd"), named_alone("mine.py:press")
    (('pgd', {}), ('press', {'attack': 'mine.py:press'}))
    """
    return (attack.rpartition(":")[2], {"attack": attack}) if is_code(attack) else (attack, {})


def is_on_text(name: str, options: Mapping[str, Any]) -> bool:
    """Whether an attack of a recipe changes the prompt."""
    return which(name, options) in (*TEXT_ATTACKS, JOINT)


def is_medis(name: str, options: Mapping[str, Any]) -> bool:
    """Whether an entry of a recipe is the attack for the tables of MedIS."""
    return which(name, options) == MEDIS


def attacks_of(
    options: Options, epsilons: Sequence[float], forms: Forms = MappingProxyType({})
) -> dict[str, Attack | ToFit]:
    """Configure the attacks on images, and run each once on a toy model.

    Args:
        options: Options by name, as in a recipe; the option ``attack`` is the attack itself if it
            differs from the name. Attacks on the text and MedIS are skipped.
        epsilons: Radii of the attacks, in units of pixel value or in those of the protocol.
        forms: Attacks for which a protocol uses its own implementation, with the options it sets.

    Returns:
        The attacks by their names in the rows.

    Raises:
        ValueError: If an attack, option or loss does not exist, or the value of an option is
            invalid.
        FileNotFoundError: If a file named by an option does not exist.
    """
    largest = max(epsilons, default=1 / 255)
    attacks = {
        name: _configured(name, dict(given), forms, largest)
        for name, given in options.items()
        if not is_on_text(name, given) and not is_medis(name, given)
    }
    for name, attack in attacks.items():
        # Try the smallest radius as well: an attack on whole grey levels may not allow it.
        for epsilon in {min(epsilons), largest} if epsilons else {None}:
            rehearse(name, attack, epsilon)
    return attacks


def configured(name: str, options: Mapping[str, Any]) -> Attack:
    """Configure an attack that is an option of another attack, which binds its radius.

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


def options_known(attack: str) -> list[str]:
    """Names of the options of an attack on images, given by name or as ``file.py:function``.

    Raises:
        ValueError: If there is no such attack.
    """
    return _options_of(_function(attack, {})[0], attack)


def check_options(name: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Check that an attack has all the given options.

    Raises:
        ValueError: If it lacks one.
    """
    for option in options:
        if option not in known:
            raise ValueError(
                f"Attack {name!r} has no option {option!r}; expected some of {', '.join(known)}."
                f"{did_you_mean(option, known)}"
            )


def rehearse(name: str, attack: Attack | ToFit, epsilon: float | None) -> None:
    """Run an attack once on a toy model, so that a wrong option is found before training.

    Args:
        name: Name of the attack, for error messages.
        attack: The attack.
        epsilon: Radius; None if the attack has one bound or needs none.

    Raises:
        ValueError: If the attack raises an error, does not return images, or lacks a radius.
    """
    # A whole grey level, because some attacks only accept 8-bit images.
    images = torch.full((1, 3, 4, 4), 128 / 255)
    masks = torch.eye(4, dtype=torch.bool)[None, None]
    try:
        if isinstance(attack, ToFit):
            (attack, *_) = attack.rehearsed(_brightness, images, masks)
        attack = _on_nothing_else(attack, masks)
        strength = _strength(attack, epsilon)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnbrokenWarning)  # irrelevant on the toy model
            answer = attack(_brightness, images, masks, **strength)
    except (ValueError, TypeError) as error:
        hint = _numbers_as_text(attack)
        raise ValueError(f"Attack {name!r} cannot be run: {error}{hint}") from error
    except Exception as error:  # user code may raise anything
        raise ValueError(f"Attack {name!r} cannot be run: {said(error)}.") from error
    if getattr(answer, "shape", None) != images.shape:
        raise ValueError(
            f"Expected attack {name!r} to return images of shape {tuple(images.shape)}, got "
            f"{getattr(answer, 'shape', type(answer).__name__)}."
        )


def needs_gradient(attack: Attack | ToFit) -> bool:
    """Whether an attack takes the gradient of the model, tried out on a toy model that has none."""
    if isinstance(attack, ToFit):
        return True
    if isinstance(attack, partial) and attack.keywords.get("surrogate") is not None:
        return False
    images, masks = torch.full((1, 3, 4, 4), 128 / 255), torch.eye(4, dtype=torch.bool)[None, None]
    attack = _on_nothing_else(attack, masks)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            attack(_without_gradient, images, masks, **_strength(attack, 1 / 255))
    except RuntimeError as error:
        return "grad" in str(error)  # as PyTorch and palpate say; others have another cause
    except Exception:  # what it lacks is said where it is run
        return False
    return False


def _without_gradient(images: Images) -> Logits:
    return _brightness(images).detach()


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
    """Find an attack by name; return it with the options that the protocol sets."""
    if is_code(attack):
        return load_code(attack, "an attack")[1], {}
    if any(mark in attack for mark in "{}[],"):
        raise ValueError(
            f"Expected names of attacks, separated by spaces (noise fgsm pgd), got {attack!r}. "
            "Options of attacks go into a recipe (evaluate.attacks)."
        )
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
    """Names of the options of an attack: its parameters after model, images and masks."""
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 3 or any(p.kind is p.KEYWORD_ONLY for p in parameters[:3]):
        raise ValueError(
            f"Expected {attack} to be an attack (model, images, masks, *, epsilon, ...), got "
            f"{attack.rpartition(':')[2]}{inspect.signature(function)}."
        )
    return [parameter.name for parameter in parameters[3:]]


def _values(options: Mapping[str, Any], attack: str, largest: float) -> Iterator[tuple[str, Any]]:
    """Convert plain values of a recipe to options: losses, surrogates, files and inner attacks."""
    for option, value in options.items():
        if option == "loss":
            yield option, _loss(value)
        elif option == "losses" and attack != "medis":  # medis looks up its own losses
            yield option, tuple(map(_loss, value))
        elif option == "perturbation" and isinstance(value, str):
            yield option, UniversalPerturbation.load(located(value))
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
    return load_model(located(name_or_directory)).requires_grad_(False)


def _named(inner: str | Mapping[str, Any]) -> dict[str, Any]:
    """The options of an inner attack, which may be given by name only."""
    return {"attack": inner} if isinstance(inner, str) else dict(inner)


def _on_nothing_else(attack: Attack, masks: torch.Tensor) -> Attack:
    """Make an attack independent of a real model and data, for a trial run.

    Its surrogate is removed, and if it needs a bank of masks, toy masks are bound.
    """
    if not isinstance(attack, partial):
        return attack
    bound = {k: v for k, v in attack.keywords.items() if k != "surrogate"}
    if wants_bank(attack):
        bound["bank"] = torch.cat([~masks, masks.flip(-1)])
    return partial(attack.func, **bound)


def wants_bank(attack: object) -> bool:
    """Whether an attack needs a bank of masks for its target and has none bound."""
    if not isinstance(attack, partial) or "bank" in attack.keywords:
        return False
    return attack.keywords.get("target") in ("random", "nearest")


def _brightness(images: Images, prompts: object = None) -> Logits:
    del prompts
    return images.mean(dim=1, keepdim=True) - 0.4


def _numbers_as_text(attack: Attack | ToFit) -> str:
    """Return a hint if an option is a string like ``1e-2``, which YAML reads as text."""
    options = attack.keywords if isinstance(attack, partial) else {}
    texts = [value for value in options.values() if isinstance(value, str)]
    found = [text for text in texts if re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", text)]
    return f". YAML reads {found[0]} as a text; write it with a point, as 1.0e-2." if found else ""


def _strength(attack: Attack, epsilon: float | None) -> dict[str, float]:
    """The argument ``epsilon``, for an attack that takes one and has none bound."""
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
