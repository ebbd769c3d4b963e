"""Near-duplicate images: a perceptual hash, and all pairs of images with similar hashes.

The hash consists of the signs of low frequencies (pHash; Zauner, 2010, https://www.phash.org). An
image is reduced to 64 x 64 grey pixels and cosine-transformed; the signs of the 16 x 16 lowest
coefficients except the mean are its 255 bits. Compression, size, brightness and contrast change few
of them. Mirroring negates every other coefficient and transposition exchanges them, so that the
hashes of all eight orientations follow from one transform. (The package ImageHash computes the hash
of one orientation only.)
"""

from collections.abc import Iterator
from hashlib import blake2b
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image
from scipy.fft import dctn

BITS = 255
_SIDE, _KEPT = 64, 16
_FLAT = 1.0  # standard deviation in grey levels below which the signs are noise
_UPRIGHT = (False, False, False)

# Largest distance of near duplicates, of 255 bits. In 2,899 endoscopic, dermoscopic and ultrasound
# images, all pairs up to 25 bits apart showed one scene; two phases of one heart were at least 27
# bits apart, and unrelated images 41 (50 in other orientations). In 150 of these images, JPEG of
# quality 40 and half the size changed at most 13 bits, and 25 % more brightness 7 on average (at
# most 36).
NEAR = 24
_BLOCK = 1024  # rows of the distance matrix held at a time


class Pair(NamedTuple):
    """Indices of two near-duplicate images, ``first`` < ``second``, and their distance in bits."""

    first: int
    second: int
    distance: int
    turned: bool


def near_pairs(
    low: Float[np.ndarray, "n 16 16"], most: int = NEAR, *, turned: bool = True
) -> list[Pair]:
    """Find all pairs of images whose hashes differ in at most ``most`` bits.

    Args:
        low: Low frequencies of each image, see :func:`low_frequencies`.
        most: Largest distance, of 255 bits.
        turned: Whether to include mirrored and rotated copies.

    Returns:
        Each pair once, with the distance in its nearest orientation, in the order of the indices.
    """
    found: dict[tuple[int, int], Pair] = {}
    bits = signs(low)
    for upright, other in all_orientations(low):
        if upright or turned:
            for first, second, distance in _below(bits, signs(other), most):
                pair = Pair(first, second, distance, not upright)
                known = found.setdefault((first, second), pair)
                if distance < known.distance:
                    found[first, second] = pair
    return [found[key] for key in sorted(found)]


def content_digest(pixels: Shaped[np.ndarray, "..."]) -> str:
    """Hash of the pixels with their shape and type, independent of the file format."""
    digest = blake2b(repr((pixels.shape, pixels.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def low_frequencies(picture: Image.Image) -> Float[np.ndarray, "16 16"] | None:
    """Lowest cosine coefficients of an image; None if it is flat, since signs would be noise."""
    grey = picture if picture.mode in ("L", "F") else picture.convert("L")
    enough = min(grey.size) >= _SIDE
    filtering = Image.Resampling.BOX if enough else Image.Resampling.BILINEAR
    values = np.asarray(grey.resize((_SIDE, _SIDE), filtering), dtype=np.float32)
    if values.std() < _FLAT:
        return None
    lowest: np.ndarray = dctn(values, norm="ortho")[:_KEPT, :_KEPT]
    return lowest.astype(np.float32)


def signs(low: Float[np.ndarray, "n 16 16"]) -> Float[np.ndarray, "n 255"]:
    """Hash bits of each image as 1 and -1, so that two differ in ``(255 - a @ b) / 2`` bits."""
    flat = low.reshape(len(low), -1)[:, 1:]
    return np.where(flat > 0, 1, -1).astype(np.float32)


def all_orientations(
    low: Float[np.ndarray, "n 16 16"],
) -> Iterator[tuple[bool, Float[np.ndarray, "n 16 16"]]]:
    """Iterate over the low frequencies of images in all eight orientations.

    Yields:
        Whether the images are upright, which they are first, and the coefficients.
    """
    odd = (-1.0) ** np.arange(_KEPT, dtype=np.float32)
    for transposed, down, across in product((False, True), repeat=3):
        turned = low.transpose(0, 2, 1) if transposed else low
        turned = turned * odd[:, None] if down else turned
        turned = turned * odd[None, :] if across else turned
        yield (transposed, down, across) == _UPRIGHT, turned


def _below(
    bits: Float[np.ndarray, "n 255"], others: Float[np.ndarray, "n 255"], most: int
) -> Iterator[tuple[int, int, int]]:
    """Indices (first < second) and distance of all pairs with at most ``most`` different bits."""
    # A matrix product counts equal bits faster than XOR and population count in NumPy.
    least = BITS - 2 * most
    for start in range(0, len(bits), _BLOCK):
        products = bits[start : start + _BLOCK] @ others[start:].T
        for row, column in np.argwhere(products >= least).tolist():
            if column > row:
                yield start + row, start + column, round((BITS - products[row, column]) / 2)
