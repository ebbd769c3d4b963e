"""Tells binary masks, also soft-edged and compressed ones, from label maps and pictures.

A *plateau* is a value that an area of the mask has. A binary mask has two, one below and one from
half of the range on. Blurred edges, JPEG ringing and noise have many values, but no areas. Rules:

1. *Few values* (at most 8). The commonest value on each side of half range is a plateau. Any other
   is one, too, unless its pixels are edges: between a darker and a brighter neighbour, as all soft
   edges are. A third value alone is also one if its pixels follow curves: soft edges have a single
   value only along straight lines. Within 8 levels of another plateau, where JPEG leaves noise,
   only a flat area counts (3 x 3 equal pixels).
2. *Many values.* A value is a plateau if an area of it is flat: 0.1 % of the image, or 1 % within 3
   levels of another plateau, where rounding makes flat rims. So is the brightness of areas that are
   nearly flat (5 x 5 pixels within 16 of 255 levels) and more than 32 levels from the other
   plateaus, from 0.2 % of the image on: JPEG turns flat areas into these.
3. *No plateaus.* If more than 30 % of the pixels are far from black and white, it is a picture and
   not a mask.

A raster of equal blocks, enlarged by nearest neighbour, is judged at its own resolution.

The limits were measured with ``docs/scripts/measure_masks.py``; docs/data.md has the result.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

_FEW = 8  # values; compressed binary masks have more, or differ by up to 3 levels only
_STRAY, _STRAY_NEAR = 3, 8  # pixels of another value that are no structure; near: JPEG noise
_RIM = 24  # pixels of a third value below which its shape says nothing
_NEAR, _NEAR_FEW = 3, 8  # levels of 255
_FLAT, _FLAT_NEAR = 0.001, 0.01  # of the image
_NEARLY_FLAT, _STEADY, _APART = 0.002, 16, 32  # of the image; levels of 255
_SMALLEST = 16  # pixels
_DARK, _BRIGHT = 32, 223  # levels beyond which a pixel of a soft mask is an edge
_PICTURE = 0.3  # of the image


@dataclass(frozen=True)
class Raster:
    """Pixels of a mask as numbers of values.

    Attributes:
        numbers: Index into ``levels`` of each pixel, (h, w).
        levels: Brightness of each value, 0 to 255.
    """

    numbers: Int[np.ndarray, "h w"]
    levels: Float[np.ndarray, " n"]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of pixels of each value."""
        return np.bincount(self.numbers.ravel(), minlength=len(self.levels))


class Verdict(NamedTuple):
    """What a mask shows.

    Attributes:
        plateaus: Numbers of the values that are plateaus, by descending area.
        is_binary: Whether the mask outlines one structure.
        is_picture: Whether it has too many values for a mask.
    """

    plateaus: tuple[int, ...]
    is_binary: bool
    is_picture: bool = False


def judge(raster: Raster) -> Verdict:
    """Decide whether a mask outlines one structure, by the rules of this module."""
    counts, levels = raster.counts, raster.levels
    used = np.flatnonzero(counts)
    if len(used) > 2:
        raster = _unrepeated(raster)
        counts = raster.counts
    # The commonest value on each side; of equally common ones the brightest and the darkest.
    bright = [n for n in used if levels[n] >= 128]
    dark = [n for n in used if levels[n] < 128]
    sides = (
        sorted(bright, key=lambda n: (-counts[n], -levels[n])),
        sorted(dark, key=lambda n: (-counts[n], levels[n])),
    )
    mains = [int(side[0]) for side in sides if side]
    others = [int(n) for n in used if n not in mains]
    if len(used) <= _FEW:
        more = _few(raster, mains, others)
    elif not (more := _flat_values(raster, mains, others)):
        if _is_picture(levels, counts):
            return Verdict(tuple(mains), is_binary=False, is_picture=True)
        more = _nearly_flat_value(raster, mains)
    found = tuple(sorted((*mains, *more), key=lambda n: (-counts[n], n)))
    return Verdict(found, is_binary=not more)


def _unrepeated(raster: Raster) -> Raster:
    """One pixel of each block, if the raster consists of equal blocks of 2 x 2 to 4 x 4 pixels."""
    numbers = raster.numbers
    for side in (4, 3, 2):
        small = numbers[::side, ::side]
        if (numbers.shape[0] % side, numbers.shape[1] % side) == (0, 0) and all(
            np.array_equal(numbers[down::side, right::side], small)
            for down in range(side)
            for right in range(side)
        ):
            return Raster(small, raster.levels)
    return raster


def _few(raster: Raster, mains: list[int], others: list[int]) -> list[int]:
    """Further plateaus of a mask with few values."""
    if not others:
        return []
    counts, inner = raster.counts, ~_between(raster)
    loose = np.bincount(raster.numbers[inner], minlength=len(counts))
    distances = _distances(raster, mains)
    near = [n for n in others if distances[n] <= _NEAR_FEW]
    far = [n for n in others if n not in near]
    if len(others) == 1 and counts[others[0]] > (_STRAY_NEAR if near else _STRAY):
        is_edge = counts[others[0]] <= _RIM or _is_straight(raster, others[0])
        return [] if is_edge and loose[others[0]] <= _STRAY else others
    # JPEG at quality 95 and above changes pixels by a level or two, but fills no area.
    found = [n for n in near if _flat(raster, n) > _STRAY_NEAR]
    if sum(loose[far]) > max(_STRAY, 0.5 * sum(counts[far])):
        found += [n for n in far if loose[n] > _STRAY]
    return found


def _flat_values(raster: Raster, mains: list[int], others: list[int]) -> list[int]:
    """Further values of a mask with many values that have flat areas."""
    counts, area = raster.counts, raster.numbers.size
    shares = np.where(_distances(raster, mains) <= _NEAR, _FLAT_NEAR, _FLAT)
    least = np.maximum(_SMALLEST, shares * area)
    # The count is a bound of the flat area, so that most masks need no filter.
    candidates = [n for n in others if counts[n] >= least[n]]
    return [n for n in candidates if _flat(raster, n) >= least[n]]


def _nearly_flat_value(raster: Raster, mains: list[int]) -> list[int]:
    """The commonest value of nearly flat areas far from the other plateaus, if there are any."""
    counts = raster.counts
    apart = _distances(raster, mains) > _APART
    least = max(_SMALLEST, _NEARLY_FLAT * raster.numbers.size)
    if counts[apart].sum() < least:
        return []
    levels = np.rint(raster.levels).astype(np.uint8)[raster.numbers]
    steady = maximum_filter(levels, 5) - minimum_filter(levels, 5) <= _STEADY
    areas = np.bincount(raster.numbers[steady], minlength=len(counts)) * apart
    return [int(areas.argmax())] if areas.sum() >= least else []


def _is_picture(levels: NDArray[np.float64], counts: NDArray[np.int64]) -> bool:
    middle = counts[(levels >= _DARK) & (levels <= _BRIGHT)].sum()
    return bool(middle > _PICTURE * counts.sum())


def _distances(raster: Raster, mains: list[int]) -> NDArray[np.float64]:
    """Distance of each value from the nearest of ``mains``, in levels of 255."""
    distances: NDArray[np.float64] = np.abs(raster.levels[:, None] - raster.levels[mains])
    nearest: NDArray[np.float64] = distances.min(axis=1)
    return nearest


def _between(raster: Raster) -> Bool[np.ndarray, "h w"]:
    """Pixels with both a darker and a brighter one among their eight neighbours."""
    levels = raster.levels[raster.numbers]
    between: NDArray[np.bool_] = (minimum_filter(levels, 3) < levels) & (
        maximum_filter(levels, 3) > levels
    )
    return between


def _flat(raster: Raster, number: int) -> int:
    """Number of pixels that have a value in common with all eight neighbours."""
    own = raster.numbers == number
    return int(minimum_filter(own.astype(np.uint8), 3).sum())


def _is_straight(raster: Raster, number: int) -> bool:
    """Whether the pixels of a value form horizontal and vertical lines."""
    own = np.pad(raster.numbers == number, 1)
    along = own[1:-1, :-2] & own[1:-1, 2:] | own[:-2, 1:-1] & own[2:, 1:-1]
    return bool((along & own[1:-1, 1:-1]).sum() > 0.8 * own.sum())
