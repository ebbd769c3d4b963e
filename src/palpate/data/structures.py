"""Structures of a data set whose mask files have several values: entries, prompts and advice."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from palpate.data.problems import refuse
from palpate.data.reading.files import UnclearMask
from palpate.data.reading.mask_values import BINARY, AtLeast, Structure, Value, shown

Kind = TypeVar("Kind", bound=Any)  # a dataclass of entries with mask_name, prompts and rule

_NAMED = 4  # values in an example
_HOLE = "{structure}"  # stands for the name of the structure in a prompt


def prompt_of(structure: Structure, prompt: str | None, *, several: bool) -> str | None:
    """The prompt of a structure: the given one, with its name filled in, or the name itself.

    >>> from palpate.data.reading.mask_values import BINARY
    >>> prompt_of(Structure("liver", BINARY), "a {structure} in CT", several=True)
    'a liver in CT'

    Args:
        structure: The structure.
        prompt: The prompt as given by the user; None if there is none.
        several: Whether the data set has several structures.

    Returns:
        The prompt; None if there is neither a prompt nor a name.

    Raises:
        ValueError: If several structures would have the same prompt.
    """
    if prompt is None or not prompt.strip():
        return structure.name or None
    if several and _HOLE not in prompt:
        raise ValueError(
            f"Expected a prompt with {_HOLE}, which stands for the name of each structure, or no "
            f"prompt at all, got {prompt!r} for several structures."
        )
    return prompt.replace(_HOLE, structure.name or "structure")


def structures_shown(entries: Sequence[Kind], structures: Sequence[Structure]) -> list[Kind]:
    """One entry for each structure of each mask; the same entries if there is nothing to pick.

    With several structures, the key of an entry begins with the name of its structure, and its
    prompt is the name, or the texts of the entry with ``{structure}`` filled in.

    Args:
        entries: Entries of mask files.
        structures: Structures of the files, see :func:`structures_of`.
    """
    first, *others = structures
    if not others and first.rule == BINARY:
        return list(entries)
    if not others:
        own = {"rule": first.rule} | ({"structure": first.name} if first.name else {})
        return [replace(entry, **own) for entry in entries]
    return [
        replace(
            entry,
            mask_name=f"{folder_of(each.name)}/{entry.mask_name}",
            prompts=prompts_of(entry.prompts, each.name),
            structure=each.name,
            rule=each.rule,
        )
        for entry in entries
        for each in structures
    ]


def only_present(
    entries: Sequence[Kind], present: Sequence[bool], structures: Sequence[Structure]
) -> list[Kind]:
    """Leave out the structures that an image does not show, with a warning, if there are several.

    Args:
        entries: One entry for each structure of each mask.
        present: Whether the mask of each entry has foreground.
        structures: Structures of the files.

    Raises:
        ValueError: If no mask has any of them.
    """
    if not any(present) and structures[0].rule.values:
        named = " and ".join(_told(structure) for structure in structures)
        raise ValueError(
            f"Expected {named} in some of {len(entries) // len(structures)} masks, which none of "
            "them has. Correct the values."
        )
    if len(structures) == 1:
        return list(entries)
    pairs = list(zip(entries, present, strict=True))
    kept = [entry for entry, there in pairs if there]
    if len(kept) < len(entries):
        seen = {entry.rule for entry in kept}
        absent = [_told(structure) for structure in structures if structure.rule not in seen]
        warnings.warn(
            f"{len(entries) - len(kept)} of {len(entries)} structures are not in the mask of their "
            f"image and are left out{'; no mask has ' if absent else ''}{', '.join(absent)}.",
            stacklevel=3,
        )
    return kept


def _told(structure: Structure) -> str:
    """Values of a structure with its name, for errors."""
    values = ", ".join(map(shown, structure.rule.values))
    return f"{values} ({structure.name})" if structure.name else f"the value {values}"


def prompts_of(
    prompts: Mapping[str, tuple[str, ...]], structure: str
) -> dict[str, tuple[str, ...]]:
    """Texts of one of several structures, by level.

    >>> prompts_of({"p1": ("lesion",), "p2": ("a {structure}",)}, "liver")
    {'p2': ('a liver',)}
    >>> prompts_of({"p1": ("lesion",)}, "liver")
    {'p1': ('liver',)}
    """
    filled = {
        level: tuple(text.replace(_HOLE, structure) for text in texts)
        for level, texts in prompts.items()
        if all(_HOLE in text for text in texts)
    }
    return filled or {"p1": (structure,)}


def folder_of(structure: str) -> str:
    """Name of the folder of a structure, with which keys begin.

    >>> folder_of("left ventricle")
    'left_ventricle'
    """
    return re.sub(r"[^\w.-]+", "_", structure.strip()).strip("_.") or "structure"


def advice(values: Sequence[Value]) -> str:
    """What to do about masks with these values, in Python.

    >>> advice((0, 127, 255)).partition("; ")[0]
    'Say which values are the structure: values=[127] for one, values={127: "NAME", 255: "NAME"} \
for several'
    """
    picked = _to_pick(values)
    if not picked:
        return "Export these masks again, in black and white."
    first, last = (_quoted(picked[place]) for place in (0, -1))
    if isinstance(picked[0], AtLeast):
        return f"If they are maps of probabilities, say what counts: values={first}."
    each = ", ".join(f'{_quoted(value)}: "NAME"' for value in picked[:_NAMED])
    return (
        f"Say which values are the structure: values=[{first}] for one, values={{{each}}} for "
        f"several; ignore=[{last}] leaves pixels out."
    )


def advice_on_command_line(values: Sequence[Value], option: str) -> str:
    """The same for the command line.

    >>> advice_on_command_line((0, 127, 255), "--mask").partition("; ")[2]
    '--mask.ignore 255 leaves pixels out.'

    Args:
        values: Values that the masks have, the commonest first.
        option: Name of the options, such as ``--data.mask``.
    """
    picked = _to_pick(values)
    if not picked:
        return "Export these masks again, in black and white."
    words = [_word(value) for value in picked]
    if isinstance(picked[0], AtLeast):
        return f"If they are maps of probabilities, say what counts: {option}.values {words[0]}."
    each = " ".join(f"{word}=NAME" for word in words[:_NAMED])
    return (
        f"Say which values are the structure: {option}.values {words[0]} for one, {option}.values "
        f"{each} for several; {option}.ignore {words[-1]} leaves pixels out."
    )


def _to_pick(values: Sequence[Value]) -> list[Value]:
    """Values to choose from, in order: all but the first, which is the commonest and background."""
    every = sorted(dict.fromkeys(values), key=_order)
    return [value for value in every if value != values[0]] or every


def _order(value: Value) -> tuple[bool, tuple[int, ...]]:
    return not isinstance(value, int), (value,) if isinstance(value, int) else tuple(value)


def _quoted(value: Value) -> str:
    return str(value) if isinstance(value, int) else f'"{shown(value)}"'


def _word(value: Value) -> str:
    return str(value) if isinstance(value, int) else f"'{shown(value)}'"  # a shell reads # and >


class UnclearMasks(ValueError):  # noqa: N818
    """Masks of a data set that do not say which of their pixels are the structure.

    Attributes:
        values: Values to choose from, the commonest first.
    """

    def __init__(self, message: str, values: Sequence[Value] = ()) -> None:
        super().__init__(message)
        self.values = tuple(values)


def refuse_unclear(found: Sequence[UnclearMask]) -> None:
    """Raise one error for all unclear masks, with what to do; do nothing if there are none.

    Raises:
        UnclearMasks: If there are any.
    """
    if not found:
        return
    values = tuple(value for each in found for value in each.values)
    refuse(
        [str(each) for each in found],
        "Expected masks of one structure each, in two values",
        lambda message: UnclearMasks(message, values),
        advice(values),
    )
