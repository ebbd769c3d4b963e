"""Fingerprints of images: one that any change breaks, one that only another picture breaks.

The second is the sign of low frequencies. An image, shrunk to 64 x 64 grey pixels, goes through a
cosine transform; the signs of the 16 x 16 lowest coefficients but the mean are its 255 bits. Other
compression, size, brightness or contrast turn few of them. Mirroring negates every other
coefficient and turning by 90 degrees transposes them, so that the bits of all eight orientations
follow from one transform.
"""

from collections.abc import Iterator
from hashlib import blake2b
from itertools import product

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image
from scipy.fft import dctn

BITS = 255
_SIDE, _KEPT = 64, 16
_FLAT = 1.0  # grey levels of standard deviation, below which signs are those of noise
_UPRIGHT = (False, False, False)


def content_digest(pixels: Shaped[np.ndarray, "..."]) -> str:
    """Equal for equal pixels, whatever file they came from."""
    digest = blake2b(repr((pixels.shape, pixels.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def coefficients(picture: Image.Image) -> Float[np.ndarray, "16 16"] | None:
    """The low frequencies of an image; None where it is flat and has nothing to recognise."""
    grey = picture if picture.mode in ("L", "F") else picture.convert("L")
    enough = min(grey.size) >= _SIDE
    filtering = Image.Resampling.BOX if enough else Image.Resampling.BILINEAR
    values = np.asarray(grey.resize((_SIDE, _SIDE), filtering), dtype=np.float32)
    if values.std() < _FLAT:
        return None
    lowest: np.ndarray = dctn(values, norm="ortho")[:_KEPT, :_KEPT]
    return lowest.astype(np.float32)


def signs(low: Float[np.ndarray, "n 16 16"]) -> Float[np.ndarray, "n 255"]:
    """The bits of each image as 1 and -1; half of what two scalar products lack is the distance."""
    flat = low.reshape(len(low), -1)[:, 1:]
    return np.where(flat > 0, 1, -1).astype(np.float32)


def orientations_of(
    low: Float[np.ndarray, "n 16 16"],
) -> Iterator[tuple[bool, Float[np.ndarray, "n 16 16"]]]:
    """The coefficients of the images upright, then mirrored and turned in the seven other ways.

    Yields:
        Whether they are upright, and the coefficients.
    """
    odd = (-1.0) ** np.arange(_KEPT, dtype=np.float32)
    for transposed, down, across in product((False, True), repeat=3):
        turned = low.transpose(0, 2, 1) if transposed else low
        turned = turned * odd[:, None] if down else turned
        turned = turned * odd[None, :] if across else turned
        yield (transposed, down, across) == _UPRIGHT, turned
