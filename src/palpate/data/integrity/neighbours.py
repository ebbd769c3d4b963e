"""Which of many images look alike."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from palpate.data.integrity.hashing import BITS, orientations_of, signs

# Of 255 bits. On 2,899 endoscopic, dermoscopic and ultrasound images all pairs up to 25 were one
# scene and the next ones (two phases of one heart) began at 27; strangers began at 41, in any
# orientation at 50. JPEG of quality 40, half size and a quarter more light stay below 24.
NEAR = 24
_BLOCK = 1024  # rows of the distance matrix held at a time


class Pair(NamedTuple):
    """Two images that look alike, by number; ``first`` is smaller."""

    first: int
    second: int
    distance: int
    turned: bool


def near_pairs(
    low: Float[np.ndarray, "n 16 16"], most: int = NEAR, *, turned: bool = True
) -> list[Pair]:
    """All pairs of images whose bits differ in at most ``most`` places.

    Args:
        low: Of each image, see :func:`palpate.data.integrity.hashing.coefficients`.
        most: Largest distance, of 255 bits.
        turned: Whether mirrored and turned copies count, too.

    Returns:
        Each pair once, in the orientation in which it is nearest, in the order of its numbers.
    """
    found: dict[tuple[int, int], Pair] = {}
    bits = signs(low)
    for upright, other in orientations_of(low):
        if upright or turned:
            for first, second, distance in _below(bits, signs(other), most):
                pair = Pair(first, second, distance, not upright)
                known = found.setdefault((first, second), pair)
                if distance < known.distance:
                    found[first, second] = pair
    return [found[key] for key in sorted(found)]


def _below(
    bits: Float[np.ndarray, "n 255"], others: Float[np.ndarray, "n 255"], most: int
) -> Iterator[tuple[int, int, int]]:
    """Pairs below the diagonal; a matrix product counts equal bits faster than any bit trick."""
    least = BITS - 2 * most
    for start in range(0, len(bits), _BLOCK):
        products = bits[start : start + _BLOCK] @ others[start:].T
        for row, column in np.argwhere(products >= least).tolist():
            if column > row:
                yield start + row, start + column, round((BITS - products[row, column]) / 2)
