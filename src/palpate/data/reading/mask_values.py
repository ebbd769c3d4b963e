"""Which values of a mask file are the structure, and which pixels are ignored.

A value is a grey level or a palette index (``127``; ``0.5`` in files of floats from 0 to 1), a
colour (``"#ff0000"``, or ``(255, 0, 0)`` in a list), or a brightness and all above it (``">=128"``,
``">=0.5"``). ``values=127`` or ``values=[1, 2]``
picks one structure; ``values={255: "tumour", 127: "liver"}`` names several, each of which becomes
an entry of its own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

Colour: TypeAlias = tuple[int, int, int]


class AtLeast(NamedTuple):
    """All brightnesses from this one on."""

    level: float


Value: TypeAlias = int | float | Colour | AtLeast
# What users write: one value, several, or a name for each.
Values: TypeAlias = int | float | str | Sequence[Any] | Mapping[Any, str] | None

_HEX = re.compile(r"#([0-9a-fA-F]{6})")
_TRIPLE = re.compile(r"\(?\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)?")
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_LEAST = re.compile(rf">=\s*({_NUMBER})")
_FORMS = (
    "a grey value or palette index (127, or 0.5 in floats), a colour (#ff0000) or a brightness "
    "(>=128)"
)


@dataclass(frozen=True)
class MaskRule:
    """How the pixels of a mask file are read.

    Attributes:
        values: Values of the structure; empty for a binary mask.
        ignore: Values of pixels that count neither as foreground nor as background.
    """

    values: tuple[Value, ...] = ()
    ignore: tuple[Value, ...] = ()

    def __str__(self) -> str:
        parts = (("values", self.values), ("ignore", self.ignore))
        return " ".join(f"{name} {', '.join(map(shown, v))}" for name, v in parts if v)


BINARY = MaskRule()


class Structure(NamedTuple):
    """A structure of the masks of a data set.

    Attributes:
        name: Its name; empty if it has none.
        rule: How its pixels are read.
    """

    name: str
    rule: MaskRule


def structures_of(values: Values = None, ignore: Values = None) -> list[Structure]:
    """Check ``values`` and ``ignore`` as users write them, and list the structures.

    >>> [(s.name, s.rule.values) for s in structures_of({255: "tumour", "#00ff00": "liver"})]
    [('tumour', (255,)), ('liver', ((0, 255, 0),))]
    >>> structures_of(["1", 2], ignore=255)
    [Structure(name='', rule=MaskRule(values=(1, 2), ignore=(255,)))]

    Args:
        values: One value, several values of one structure, or a mapping from values to names. The
            texts ``VALUE=NAME`` count as a mapping. None for binary masks.
        ignore: One or several values.

    Raises:
        ValueError: If a value is none, a name is empty, or a value is both a structure and ignored.
    """
    left_out = tuple(map(parse_value, _listed(ignore)))
    named = _named(values)
    twice = [v for some in named.values() for v in some if v in left_out]
    if twice:
        raise ValueError(
            f"Expected each value either in values or in ignore, got {shown(twice[0])} in both."
        )
    return [Structure(name, MaskRule(some, left_out)) for name, some in named.items()]


def parse_value(value: Any) -> Value:
    """Read one value.

    >>> parse_value("127"), parse_value("#ff0000"), parse_value([0, 128, 0]), parse_value(">=128")
    (127, (255, 0, 0), (0, 128, 0), AtLeast(level=128))
    >>> parse_value(0.5), parse_value("1.0")
    (0.5, 1)

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(value, AtLeast):
        return value
    if isinstance(value, list | tuple) and len(value) == 3 and all(map(_is_byte, value)):
        return tuple(map(int, value))  # type: ignore[return-value]
    text = str(value).strip()
    if not isinstance(value, bool) and re.fullmatch(_NUMBER, text):
        return _number(text)
    if found := _HEX.fullmatch(text):
        return tuple(bytes.fromhex(found[1]))  # type: ignore[return-value]
    if (found := _TRIPLE.fullmatch(text)) and all(_is_byte(int(part)) for part in found.groups()):
        return tuple(map(int, found.groups()))  # type: ignore[return-value]
    if found := _LEAST.fullmatch(text):
        return AtLeast(_number(found[1]))
    raise ValueError(f"Expected {_FORMS} as a value of masks, got {value!r}.")


def shown(value: Value) -> str:
    """A value as users write it.

    >>> shown(127), shown(0.5), shown((255, 0, 0)), shown(AtLeast(128))
    ('127', '0.5', '#ff0000', '>=128')
    """
    if isinstance(value, AtLeast):
        return f">={value.level:.6g}"
    return "#" + bytes(value).hex() if isinstance(value, tuple) else f"{value:.6g}"


def _number(text: str) -> int | float:
    """A number, as an integer if it is whole."""
    number = float(text)
    return int(number) if number.is_integer() else number


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _named(values: Values) -> dict[str, tuple[Value, ...]]:
    """Values of each structure by its name; one structure without a name if none is named."""
    if isinstance(values, Mapping):
        pairs = [(parse_value(value), str(name).strip()) for value, name in values.items()]
    else:
        pairs = [_pair(each) for each in _listed(values)]
    if not pairs:
        return {"": ()}
    names = [name for _, name in pairs]
    if ("" in names and set(names) != {""}) or (isinstance(values, Mapping) and "" in names):
        raise ValueError(
            "Expected a name for each value of the masks or for none of them, such as "
            f"255=tumour 127=liver, got {values!r}."
        )
    found: dict[str, tuple[Value, ...]] = {}
    for value, name in pairs:
        if any(value in some for some in found.values()):
            raise ValueError(f"Expected each value of the masks once, got {shown(value)} twice.")
        found[name] = (*found.get(name, ()), value)
    return found


def _pair(each: Any) -> tuple[Value, str]:
    """A value with its name, from ``VALUE=NAME``; without ``=`` the name is empty."""
    if isinstance(each, str) and (found := re.fullmatch(r"([^=]*[^=>])=(.*)", each)):
        if not found[2].strip():
            raise ValueError(f"Expected VALUE=NAME, got {each!r}.")
        return parse_value(found[1]), found[2].strip()
    if isinstance(each, str) and (found := re.fullmatch(rf"(>=\s*(?:{_NUMBER}))=(.+)", each)):
        return parse_value(found[1]), found[2].strip()
    return parse_value(each), ""


def _listed(values: Any) -> Iterable[Any]:
    """Single values as a list; in a list, three numbers in brackets are a colour."""
    if values is None:
        return []
    return [values] if isinstance(values, str | int | float | AtLeast) else list(values)
