"""Words for the shape of a region, from its convex hull and the least rectangle around that.

For a region of ``a`` pixels whose hull holds ``n`` pixels, has the area ``h`` and fits into a least
rectangle of sides ``s <= l``:

    solidity = a / n      1 where nothing is dented
    fill     = h / (s l)  1 of a rectangle, pi / 4 = 0.79 of an ellipse, 0.5 of a triangle
    ratio    = s / l      1 of a circle and a square

In this order: ``horseshoe`` if solidity < 0.75 and the centre of mass lies outside the region;
``irregular`` if solidity < 0.8; ``triangular`` if fill < 0.62; ``square`` or ``rectangular``, by a
ratio of 0.8, if fill > 0.92; ``round`` or ``oval``, by the same ratio. The outline is ``regular``
from a solidity of 0.98 on, the cut that best parts benign from malignant in the training split of
BUSI.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

SHAPES = ("horseshoe", "irregular", "triangular", "square", "rectangular", "round", "oval")
OUTLINES = ("regular", "irregular")

_HOLLOW, _DENTED, _REGULAR = 0.75, 0.8, 0.98  # solidity
_POINTED, _CORNERED = 0.62, 0.92  # fill
_ROUND = 0.8  # ratio


class _Form(NamedTuple):
    solidity: float
    fill: float
    ratio: float


def shape_words(region: Bool[np.ndarray, "h w"]) -> tuple[str, str]:
    """Shape and outline of one connected region, as the module says.

    >>> shape_words(np.ones((8, 30), dtype=bool))
    ('rectangular', 'regular')
    >>> shape_words(np.tri(40, dtype=bool))
    ('triangular', 'regular')

    Args:
        region: Has at least one pixel in its first and its last row.
    """
    form = _form(region)
    return _shape(form, region), OUTLINES[form.solidity < _REGULAR]


def _shape(form: _Form, region: NDArray[np.bool_]) -> str:
    if form.solidity < _HOLLOW and not _holds_its_centre(region):
        return "horseshoe"
    if form.solidity < _DENTED:
        return "irregular"
    if form.fill < _POINTED:
        return "triangular"
    equal = form.ratio >= _ROUND
    if form.fill > _CORNERED:
        return "square" if equal else "rectangular"
    return "round" if equal else "oval"


def _form(region: NDArray[np.bool_]) -> _Form:
    hull = _hull(region)
    edges = np.roll(hull, -1, axis=0) - hull
    inside = abs(np.sum(hull[:, 0] * edges[:, 1] - hull[:, 1] * edges[:, 0])) / 2
    # Pick's theorem: pixels whose centres are in the hull, those on its border included.
    pixels = inside + np.gcd(edges[:, 0], edges[:, 1]).sum() / 2 + 1
    area = inside + np.ptp(hull, axis=0).sum() + 1  # pixels have an extent, their centres none
    shorter, longer = _least_rectangle(hull, edges)
    return _Form(
        float(np.count_nonzero(region) / pixels),
        float(area / (shorter * longer)),
        float(shorter / longer),
    )


def _hull(region: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Centres of the pixels that are corners of the convex hull, x and y, in order around it."""
    rows = np.flatnonzero(region.any(axis=1))
    first = region[rows].argmax(axis=1)
    last = region.shape[1] - 1 - region[rows, ::-1].argmax(axis=1)
    left, right = _bulges(rows, -first), _bulges(rows, last)
    x = np.concatenate([first[left], last[right][::-1]])
    y = np.concatenate([rows[left], rows[right][::-1]])
    return np.stack([x, y], axis=1)


def _bulges(rows: NDArray[np.int64], reach: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which points of one side the hull rests on.

    A point that reaches no further than the line between its neighbours is no corner of the hull,
    and so may go, whether its neighbours stay or not; when none goes, the rest is convex.
    """
    kept = np.arange(len(rows))
    while len(kept) > 2:
        y, x = rows[kept], reach[kept]
        before, after = slice(None, -2), slice(2, None)
        turn = (x[1:-1] - x[before]) * (y[after] - y[before])
        needed = turn > (x[after] - x[before]) * (y[1:-1] - y[before])
        if needed.all():
            break
        kept = kept[np.concatenate([[True], needed, [True]])]
    return kept


def _least_rectangle(
    hull: NDArray[np.int64], edges: NDArray[np.int64]
) -> tuple[np.float64, np.float64]:
    """Sides, the shorter first, of the least rectangle around pixels with this hull.

    One of its sides lies on a side of the hull (Freeman and Shapira, 1975,
    https://doi.org/10.1145/360881.360919), which with the extent of pixels may be upright.
    """
    sides = np.concatenate([[[1.0, 0.0]], edges[edges.any(axis=1)]])
    sides /= np.hypot(sides[:, 0], sides[:, 1])[:, None]
    pixel = np.abs(sides).sum(axis=1)  # its extent in either direction
    along = np.ptp(hull @ sides.T, axis=0) + pixel
    across = np.ptp(hull @ (sides[:, ::-1] * [-1.0, 1.0]).T, axis=0) + pixel
    best = int((along * across).argmin())
    return np.minimum(along[best], across[best]), np.maximum(along[best], across[best])


def _holds_its_centre(region: NDArray[np.bool_]) -> bool:
    rows, columns = np.nonzero(region)
    return bool(region[round(float(rows.mean())), round(float(columns.mean()))])
