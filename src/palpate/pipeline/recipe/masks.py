"""What the values of mask files mean, as settings of recipes and options of commands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict

from palpate.data.reading.mask_values import Structure, parse_value, shown, structures_of


def _words(values: Any) -> Any:
    """Values as they are written in YAML (numbers, colours, a mapping to names), as words."""
    if values is None:
        return ()
    if isinstance(values, Mapping):
        return tuple(f"{shown(parse_value(value))}={name}" for value, name in values.items())
    if isinstance(values, str | int | float):
        return (str(values),)
    return tuple(v if isinstance(v, str) else shown(parse_value(v)) for v in values)


@dataclass(frozen=True)
class MaskConfig:
    """What the values of mask files mean, if they are not binary."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    values: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Values of the structure (`127`, or `1 2`), or a name for each of several structures
    (`255=tumour 127=liver`), each of which becomes a sample of its own. A value is a grey value, a
    palette index, a colour (`#ff0000`) or a brightness and all above it (`>=128`)."""
    ignore: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Values of pixels that count in no loss, attack or metric, such as `255`."""

    def __post_init__(self) -> None:
        _ = self.structures  # raises an error if a value is invalid

    @property
    def structures(self) -> list[Structure]:
        """The structures of the masks; one without name and values if they are binary."""
        return structures_of(self.values or None, self.ignore or None)

    @property
    def has_names(self) -> bool:
        """Whether the structures are named, so that they need no prompt."""
        return bool(self.structures[0].name)

    @property
    def options(self) -> dict[str, str]:
        """Options of ``palpate data prepare pairs``."""
        told = {"values": self.values, "ignore": self.ignore}
        return {name: ",".join(words) for name, words in told.items() if words}
