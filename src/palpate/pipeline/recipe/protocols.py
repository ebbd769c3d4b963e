"""Protocols by name, with their choices in the evaluation and inside the attacks.

``paper`` follows the published study of CLIPSeg with adapters. Every choice can be changed
separately (``switches``); changed choices become part of the name of the protocol.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from palpate.attacks import LOSSES, published_noise, published_pgd, unchanged
from palpate.errors import did_you_mean
from palpate.evaluation import PAPER, SOUND, Protocol
from palpate.types import Attack

ProtocolName: TypeAlias = Literal["sound", "paper"]

# Choices inside the attack: switch -> setting -> options of published_pgd.
_SETTINGS: Mapping[str, Mapping[object, Mapping[str, Any]]] = MappingProxyType(
    {
        "space": {"normalised": {"equal_channels": False}, "pixel": {"equal_channels": True}},
        "clamp": {False: {"clamp": False}, True: {"clamp": True}},
        "step": {"fixed": {"step_size": 2 / 255}, "scaled": {"step_size": None}},
        "start": {"clean": {"random_start": False}, "random": {"random_start": True}},
        "keep": {"last": {"keep": "last"}, "dice": {"keep": "dice"}},
        "loss": {"probability": {"loss": None}, "logits": {"loss": LOSSES["bce_dice"]}},
    }
)
_PUBLISHED = MappingProxyType(
    {
        "space": "normalised",
        "clamp": False,
        "step": "fixed",
        "start": "clean",
        "keep": "last",
        "loss": "probability",
    }
)
# The attacks as in the study; its FGSM is one step of PGD whose size is the radius.
_ATTACKS: Mapping[str, tuple[Attack, Mapping[str, Any]]] = MappingProxyType(
    {
        "noise": (published_noise, {}),
        "unchanged": (unchanged, {"norm": "normalised"}),
        "fgsm": (published_pgd, {"steps": 1, "step_size": None}),
        "pgd": (published_pgd, {}),
    }
)
_EVERYWHERE = ("equal_channels", "clamp")  # options that published_noise has as well
_OF_EVALUATION = tuple(field.name for field in fields(Protocol) if field.name != "name")


@dataclass(frozen=True)
class Choices:
    """The choices of a protocol.

    Attributes:
        protocol: Choices of the evaluation.
        options: For each attack with a published form, the function and its options. If empty,
            palpate's own attacks are used.
    """

    protocol: Protocol
    options: Mapping[str, tuple[Attack, Mapping[str, Any]]]


def choices_of(name: ProtocolName, switches: Mapping[str, Any]) -> Choices:
    """Return the choices of a protocol, with some of them changed.

    Args:
        name: ``sound`` or ``paper``.
        switches: Setting by switch: fields of :class:`palpate.evaluation.Protocol`, and with
            ``paper`` also ``space`` (``normalised``, ``pixel``: every channel gets the mean
            radius), ``clamp`` (true, false), ``step`` (``fixed``, ``scaled``), ``start``
            (``clean``, ``random``), ``keep`` (``last``, ``dice``) and ``loss`` (``probability``,
            ``logits``).

    Raises:
        ValueError: If a switch or setting does not exist.
    """
    base = {"sound": SOUND, "paper": PAPER}[name]
    known = (*_OF_EVALUATION, *(_SETTINGS if name == "paper" else ()))
    for switch, setting in switches.items():
        _check(switch, setting, known)
    named = ", ".join([name, *(f"{switch}={value}" for switch, value in switches.items())])
    made = base.switched(**{k: v for k, v in switches.items() if k in _OF_EVALUATION})
    protocol = replace(made, name=named)
    return Choices(protocol, _published(switches) if name == "paper" else {})


def _published(switches: Mapping[str, Any]) -> dict[str, tuple[Attack, Mapping[str, Any]]]:
    chosen = {**_PUBLISHED, **{k: v for k, v in switches.items() if k in _SETTINGS}}
    options = {k: v for s, setting in chosen.items() for k, v in _SETTINGS[s][setting].items()}
    common = {k: v for k, v in options.items() if k in _EVERYWHERE}
    usable = {"noise": common, "unchanged": {}, "fgsm": options, "pgd": options}
    return {name: (form, {**usable[name], **own}) for name, (form, own) in _ATTACKS.items()}


def _check(switch: str, setting: object, known: tuple[str, ...]) -> None:
    if switch not in known:
        raise ValueError(
            f"There is no switch {switch!r} of this protocol; expected some of "
            f"{', '.join(known)}.{did_you_mean(switch, known)}"
        )
    if switch in _SETTINGS and setting not in _SETTINGS[switch]:
        raise ValueError(
            f"Expected {switch} of a protocol to be one of "
            f"{', '.join(map(str, _SETTINGS[switch]))}, got {setting!r}."
        )
