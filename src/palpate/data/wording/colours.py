"""Colour word for the region under a mask, by distance in CIELAB.

The median of L*, a* and b* (CIE 1976, D65) of up to 4096 pixels, evenly spaced over the mask, is
compared with the colours in ``wordings.yaml``. The word is that of the nearest colour by Euclidean
distance with half the weight for lightness, since a lesion in the shade keeps its hue. A grayscale
recording, in which the channels of hardly any pixel under the mask differ, gets no word.
"""

from functools import cache

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from palpate.data.wording.wordings import colour_samples

_SAMPLED = 4096  # largest number of pixels to measure
_WEIGHTS = (0.5, 1.0, 1.0)  # of L*, a* and b*
_GREY = 4  # of 255: largest difference between channels that JPEG causes in grayscale images
_COLOURED = 0.01  # smallest fraction of coloured pixels in a colour recording

# From linear sRGB to CIE XYZ (IEC 61966-2-1); white is the sum of the columns (D65).
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


def describe_colour(image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> str | None:
    """Colour word for the region of a mask; None in a grey recording or for an empty mask.

    >>> image = np.full((8, 8, 3), (150, 90, 60), dtype=np.uint8)
    >>> describe_colour(image, np.ones((8, 8), dtype=bool))
    'brown'

    Args:
        image: sRGB image (h, w, 3) in 0 to 255.
        mask: Mask (h, w) of the same size.
    """
    rows, columns = np.nonzero(mask)
    every = -(-rows.size // _SAMPLED) or 1
    pixels = image[rows[::every], columns[::every]]
    if not pixels.size or np.mean(np.ptp(pixels, axis=1) > _GREY) < _COLOURED:
        return None
    words, samples = _palette()
    apart = (samples - np.median(lab(pixels), axis=0)) * _WEIGHTS
    return words[int((apart**2).sum(axis=1).argmin())]


def lab(pixels: UInt8[np.ndarray, "n 3"]) -> NDArray[np.float64]:
    """Convert sRGB pixels (n, 3) in 0 to 255 to L*, a* and b*, (n, 3).

    >>> lab(np.array([[255, 255, 255], [255, 0, 0]], dtype=np.uint8)).round().tolist()
    [[100.0, 0.0, 0.0], [53.0, 80.0, 67.0]]
    """
    values = pixels / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    parts = linear @ _TO_XYZ.T / _WHITE
    roots = np.where(parts > (6 / 29) ** 3, np.cbrt(parts), parts / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = roots.T
    # The linear branch above avoids the infinite slope of the cube root at 0, as in the standard.
    found: NDArray[np.float64] = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
    return found + 0.0  # no negative zeros


@cache
def _palette() -> tuple[tuple[str, ...], NDArray[np.float64]]:
    words, values = zip(*colour_samples(), strict=True)
    return words, lab(np.array(values, dtype=np.uint8))
