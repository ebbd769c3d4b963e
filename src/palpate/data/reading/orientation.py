"""EXIF orientation of images and masks, and the check that their aspect ratios agree.

The EXIF orientation of an image is applied. A mask without EXIF orientation is turned like its
image if it has the aspect ratio of the image *as stored*; if it only has that of the image as
displayed, it is not turned. (``PIL.ImageOps.exif_transpose`` applies the tag of one file only, so
it cannot turn a mask by the tag of its image.)
"""

from PIL import Image

from palpate.data.reading.files import file_name, naming

ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
_TOLERANCE = 0.02  # relative error of the aspect ratio: rounding at a side of 50 pixels


def orientations(picture: Image.Image, drawing: Image.Image) -> tuple[int, int]:
    """EXIF orientations to apply to an image and to its mask, 1 to 8 each."""
    image_turn, mask_turn = orientation(picture), orientation(drawing)
    if mask_turn == 1 and same_shape(drawing.size, picture.size):
        mask_turn = image_turn
    return image_turn, mask_turn


def turned_on_trust(picture: Image.Image, drawing: Image.Image) -> bool:
    """Whether a mask is turned like its image although it would also fit without turning."""
    turn = orientation(picture)
    if turn == 1 or orientation(drawing) != 1:
        return False
    shapes = picture.size, upright_size(picture.size, turn)
    return all(same_shape(drawing.size, shape) for shape in shapes)


def check_shapes(picture: Image.Image, drawing: Image.Image, turns: tuple[int, int]) -> None:
    """Raise an error if the aspect ratios of a mask and its image differ.

    Args:
        picture: The image as stored.
        drawing: The mask as stored.
        turns: EXIF orientations of both, see :func:`orientations`.

    Raises:
        ValueError: If they differ by more than 2 %.
    """
    width, height = upright_size(picture.size, turns[0])
    mask_width, mask_height = upright_size(drawing.size, turns[1])
    if not same_shape((width, height), (mask_width, mask_height)):
        raise ValueError(
            "Expected a mask in the proportions of its image, got "
            f"{mask_width}x{mask_height} pixels in {file_name(drawing)} "
            f"for {width}x{height} in {file_name(picture)}."
        )


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) have the same aspect ratio within 2 %.

    >>> same_shape((640, 480), (320, 240)), same_shape((640, 480), (480, 640))
    (True, False)
    """
    ratio = (one[0] * other[1]) / (one[1] * other[0])
    return max(ratio, 1 / ratio) <= 1 + _TOLERANCE


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """Apply an EXIF orientation to an image."""
    return picture.transpose(_TURNS[orientation]) if orientation != 1 else picture


def unturned(picture: Image.Image, orientation: int) -> Image.Image:
    """Invert :func:`turned`: from an upright image to pixels for a file with that orientation."""
    return turned(picture, {6: 8, 8: 6}.get(orientation, orientation))


def orientation(picture: Image.Image) -> int:
    """EXIF orientation of an image, 1 to 8; 1 (upright) if the file has none."""
    with naming(file_name(picture)):
        value = picture.getexif().get(ORIENTATION, 1)
    return value if value in _TURNS else 1


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height as displayed, given width and height as stored."""
    return size[::-1] if orientation in _SIDEWAYS else size
