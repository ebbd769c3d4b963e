"""From the attacks a recipe names to callables, tried out before anything long begins."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch

from palpate.attacks import ATTACKS, LOSSES, UnbrokenWarning, UniversalPerturbation
from palpate.hints import did_you_mean
from palpate.types import Attack, Images, Logits


def attacks_of(
    options: Mapping[str, Mapping[str, Any]],
    epsilons: Sequence[float],
    forms: Mapping[str, tuple[Attack, Mapping[str, Any]]] = MappingProxyType({}),
) -> dict[str, Attack]:
    """Configured attacks by their names in the table.

    Args:
        options: Name to options, as in a recipe; ``attack`` names the attack itself where it
            differs from that name.
        epsilons: Radii they will be run at, in units of pixel value or of the protocol.
        forms: Attacks that a protocol runs in a form of its own, with the options it sets.

    Raises:
        ValueError: If there is no such attack, option or loss, or an option's value is refused.
        FileNotFoundError: If a file that an option names is not there.
    """
    attacks = {name: _configured(name, dict(given), forms) for name, given in options.items()}
    for name, attack in attacks.items():
        _rehearse(name, attack, max(epsilons, default=1 / 255))
    return attacks


def _configured(
    name: str,
    options: dict[str, Any],
    forms: Mapping[str, tuple[Attack, Mapping[str, Any]]],
) -> Attack:
    which = options.pop("attack", name)
    if which not in ATTACKS:
        raise ValueError(
            f"There is no attack {which!r}; expected one of {', '.join(ATTACKS)}. An attack under "
            "another name in the table says which it is: `my-name: {attack: pgd, steps: 100}`."
        )
    if forms and which not in forms:
        raise ValueError(
            f"Attack {which!r} has no published form; under this protocol expected some of "
            f"{', '.join(forms)}."
        )
    function, set_already = forms.get(which, (ATTACKS[which], {}))
    known = list(inspect.signature(function).parameters)[3:]  # model, images and masks
    for option in options:
        if option not in known:
            raise ValueError(
                f"Attack {name!r} has no option {option!r}; expected some of {', '.join(known)}."
                f"{did_you_mean(option, known)}"
            )
    if "loss" in options:
        if options["loss"] not in LOSSES:
            raise ValueError(
                f"There is no loss {options['loss']!r}; expected one of {', '.join(LOSSES)}."
            )
        options["loss"] = LOSSES[options["loss"]]
    if isinstance(options.get("perturbation"), str):
        options["perturbation"] = UniversalPerturbation.load(options["perturbation"])
    if "inner" in options:
        options["inner"] = _configured("inner", _named(options["inner"]), {})
    return partial(function, **(dict(set_already) | options))


def _named(inner: str | Mapping[str, Any]) -> dict[str, Any]:
    """An attack inside another: its name, or its name among its options."""
    return {"attack": inner} if isinstance(inner, str) else dict(inner)


def _rehearse(name: str, attack: Attack, epsilon: float) -> None:
    """Run an attack on a model of one line: a wrong option must not cost a training first."""
    images = torch.full((1, 3, 4, 4), 128 / 255)  # a whole grey level
    masks = torch.eye(4, dtype=torch.bool)[None, None]
    wanted = "epsilon" in inspect.signature(attack).parameters and not _is_bound(attack)
    strength = {"epsilon": epsilon} if wanted else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnbrokenWarning)  # not about the user's model
            attack(_brightness, images, masks, **strength)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Attack {name!r} cannot be run: {error}") from error


def _brightness(images: Images) -> Logits:
    return images.mean(dim=1, keepdim=True) - 0.4


def _is_bound(attack: Attack) -> bool:
    return isinstance(attack, partial) and "epsilon" in attack.keywords
