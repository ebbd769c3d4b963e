"""What is known about a set that can be prepared, and the error of one that is another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from palpate.data.prepare.item import Item


class WrongLayout(ValueError):  # noqa: N818
    """The source holds another set than the one asked for, or none."""


@dataclass(frozen=True)
class Converter:
    """How the official download of a set becomes a folder that ``load_data`` reads.

    Attributes:
        name: Of the set.
        folder: Below the output folder.
        find: Items of a source, by its names and small metadata only: no image is read. Takes the
            options as keywords. Raises :class:`WrongLayout` if the source does not hold the set,
            and ValueError, which lists all of them, if files do not fit each other.
        card: Its name in :data:`palpate.data.sources.cards.CARDS`; empty for data of one's own.
        version: Raised when the same source would give other files, which are then made anew.
        options: Names of what a user may say besides, each with its default.
    """

    name: str
    folder: str
    find: Callable[..., Sequence[Item]]
    card: str = ""
    version: int = 1
    options: Mapping[str, str] = field(default_factory=dict)
