"""Structures of a data set whose mask files have several values: entries, prompts and advice."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from palpate.data.problems import refuse
from palpate.data.reading.files import UnclearMask
from palpate.data.reading.mask_values import BINARY, AtLeast, Structure, Value, shown
from palpate.data.reading.masks import shares

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
        entries: One entry for each structure of each mask, in the order of ``structures``.
        present: Whether the mask of each entry has foreground.
        structures: Structures of the files.

    Raises:
        ValueError: If no mask has any of them.
    """
    if not any(present) and structures[0].rule.values:
        named = " and ".join(_told(structure) for structure in structures)
        raise ValueError(
            f"Expected {named} in some of {len(entries) // len(structures)} masks, which none of "
            f"them has; they have {values_found(entries[:: len(structures)])}. Correct the values."
        )
    if len(structures) == 1:
        return list(entries)
    pairs = list(zip(entries, present, strict=True))
    kept = [entry for entry, there in pairs if there]
    if len(kept) < len(entries):
        seen = {place % len(structures) for place, there in enumerate(present) if there}
        absent = [_told(each) for place, each in enumerate(structures) if place not in seen]
        values = values_found(entries[:: len(structures)]) if absent else ""
        told = f"; no mask has {', '.join(absent)}, they have {values}" if absent else ""
        warnings.warn(
            f"{len(entries) - len(kept)} of {len(entries)} structures are not in the mask of their "
            f"image and are left out{told}.",
            stacklevel=3,
        )
    return kept


def values_found(entries: Iterable[Any]) -> str:
    """Values of the masks of entries with their share of the pixels, for errors.

    Args:
        entries: Entries with a method ``count_values``.
    """
    counts = Counter[str]()
    for entry in entries:
        counts.update(entry.count_values())
    return shares(counts)


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


class _Form(NamedTuple):
    """How advice writes values: templates, and the quotation mark of colours and brightnesses."""

    one: str
    several: str
    ignore: str
    named: str
    between: str
    quote: str


_IN_PYTHON = _Form("values=[{}]", "values={{{}}}", "ignore=[{}]", '{}: "NAME"', ", ", '"')


def advice(values: Sequence[Value], option: str = "") -> str:
    """What to do about masks with these values.

    >>> advice((0, 127, 255)).partition("; ")[0]
    'Say which values are the structure: values=[127] for one, values={127: "NAME", 255: "NAME"} \
for several'
    >>> advice((0, 127, 255), "--mask").partition("; ")[2]
    '--mask.ignore 255 leaves pixels out.'

    Args:
        values: Values that the masks have, the commonest first.
        option: Name of the options on the command line, such as ``--data.mask``; empty in Python.
    """
    form = _IN_PYTHON
    if option:  # a shell reads # and >, hence the quotation marks
        form = _Form(
            f"{option}.values {{}}", f"{option}.values {{}}", f"{option}.ignore {{}}", "{}=NAME",
            " ", "'",
        )  # fmt: skip
    picked = _to_pick(values)
    if not picked:
        return "Export these masks again, in black and white."
    words = [_quoted(value, form.quote) for value in picked]
    one = form.one.format(words[0])
    if isinstance(picked[0], AtLeast):
        return f"If they are maps of probabilities, say what counts: {one}."
    named = form.between.join(form.named.format(word) for word in words[:_NAMED])
    return (
        f"Say which values are the structure: {one} for one, {form.several.format(named)} for "
        f"several; {form.ignore.format(words[-1])} leaves pixels out."
    )


def _quoted(value: Value, mark: str) -> str:
    return f"{mark}{shown(value)}{mark}" if isinstance(value, tuple) else shown(value)


def _to_pick(values: Sequence[Value]) -> list[Value]:
    """Values to choose from, in order: all but the first, which is the commonest and background."""
    every = sorted(dict.fromkeys(values), key=_order)
    return [value for value in every if value != values[0]] or every


def _order(value: Value) -> tuple[bool, tuple[float, ...]]:
    return isinstance(value, tuple), value if isinstance(value, tuple) else (value,)


class UnclearMasks(ValueError):  # noqa: N818
    """Masks of a data set that do not say which of their pixels are the structure.

    Attributes:
        values: Values to choose from, the commonest first.
    """

    def __init__(self, message: str, values: Sequence[Value] = ()) -> None:
        super().__init__(message)
        self.values = tuple(values)

    def advising(self, option: str, more: str = "") -> "UnclearMasks":
        """The same error with the advice for the command line.

        Args:
            option: Name of the options, such as ``--mask``.
            more: Another way, after the options.
        """
        *lines, _ = str(self).splitlines()
        lines.append(advice(self.values, option) + more)
        return UnclearMasks("\n".join(lines), self.values)


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
