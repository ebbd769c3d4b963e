"""Description of a converter, and the error for a source that is not its data set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from palpate.data.prepare.item import Item


class WrongLayout(ValueError):  # noqa: N818
    """The source does not contain the requested data set."""


@dataclass(frozen=True)
class Converter:
    """Converter from the official download of a data set to a folder for ``load_data``.

    Attributes:
        name: Name of the data set.
        folder: Name of its folder below the output folder.
        find: Function that returns the items of a source from file names and small metadata only,
            without reading images. Takes the options as keywords. Raises :class:`WrongLayout` if
            the source does not contain the data set, and a ValueError that lists files that do not
            fit each other.
        card: Key in :data:`palpate.data.sources.cards.CARDS`; empty for formats of user data.
        version: To be increased if the same source would give different files, which are then
            written again.
        options: Options of the converter with their defaults.
        known_rest: Files that the official download has besides the data set: the reason why they
            are left out, by a regular expression for their paths; case does not matter.
        instead: What to do in place of an option that it lacks and others have, by the option.
    """

    name: str
    folder: str
    find: Callable[..., Sequence[Item]]
    card: str = ""
    version: int = 1
    options: Mapping[str, str] = field(default_factory=dict)
    known_rest: Mapping[str, str] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)
