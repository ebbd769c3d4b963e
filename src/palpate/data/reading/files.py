"""Opening image files, with errors that name the file."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

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
    try:
        yield
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
    return str(getattr(picture, "filename", "") or "an image in memory")
