"""Opening image files, with errors that name the file."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from palpate.data.reading.mask_values import Value

_IN_MEMORY = "an image in memory"

# What Pillow and its decoders raise for damaged files.
_FAILURES = (
    OSError,
    SyntaxError,  # raised by Pillow for a broken PNG chunk
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


class Unreadable(ValueError):  # noqa: N818
    """An image file that could not be decoded; the message names it."""


class UnclearMask(Unreadable):
    """A mask that does not say which of its pixels are the structure.

    Attributes:
        problem: What is wrong, without the name of the file.
        values: Values to choose from, by descending area; empty if choosing does not help.
        name: Name of the file; empty as long as it is not known.
    """

    def __init__(self, problem: str, values: tuple[Value, ...] = (), name: str = "") -> None:
        super().__init__(f"{name}: {problem}" if name else problem)
        self.problem, self.values, self.name = problem, values, name

    def named(self, name: str) -> "UnclearMask":
        """The same error with the name of the file, unless it has one."""
        return self if self.name else UnclearMask(self.problem, self.values, name)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file without decoding it.

    Raises:
        ValueError: If the file is not an image.
    """
    with naming(path):
        picture = Image.open(path)
    with picture:
        yield picture


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Convert any decoding error inside the block to a ValueError that names the file."""
    # A switch for the whole process. Some libraries (WeasyPrint) turn it on, and Pillow then
    # decodes half a file without an error.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    except UnclearMask as error:
        raise error if path == _IN_MEMORY else error.named(str(path)) from None
    except Unreadable:  # already names its file
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(
            f"Expected a readable image in {path}, but it is empty or of no known format."
        ) from error
    except _FAILURES as error:
        raise Unreadable(f"Expected a readable image in {path}, but: {error}.") from error


def file_name(picture: Image.Image) -> str:
    """File name of an image, for errors."""
    return str(getattr(picture, "filename", "") or _IN_MEMORY)
