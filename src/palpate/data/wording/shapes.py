"""Shape words of a region, from its convex hull and the minimum-area bounding rectangle.

For a region of ``a`` pixels whose convex hull contains ``n`` pixels, has the area ``h`` and a
minimum-area bounding rectangle with sides ``s <= l``:

    solidity = a / n      1 for a convex region
    fill     = h / (s l)  1 for a rectangle, pi / 4 = 0.79 for an ellipse, 0.5 for a triangle
    ratio    = s / l      1 for a circle and a square

The first of these that applies: ``horseshoe`` if solidity < 0.75 and the centre of mass is outside
the region; ``irregular`` if solidity < 0.8; ``triangular`` if fill < 0.62; if fill > 0.92,
``square`` (ratio >= 0.8) or ``rectangular``; else ``round`` (ratio >= 0.8) or ``oval``. The outline
is ``regular`` from a solidity of 0.98 on, the threshold that best separates benign from malignant
tumours in the training split of BUSI.
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
    """Words for the shape and the outline of one connected region; see the module.

    >>> shape_words(np.ones((8, 30), dtype=bool))
    ('rectangular', 'regular')
    >>> shape_words(np.tri(40, dtype=bool))
    ('triangular', 'regular')

    Args:
        region: Mask (h, w) with at least one pixel in its first and in its last row.

    Returns:
        A word in ``SHAPES`` and a word in ``OUTLINES``.
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
    """Solidity, fill and ratio of a region."""
    hull = _hull(region)
    edges = np.roll(hull, -1, axis=0) - hull
    inside = abs(np.sum(hull[:, 0] * edges[:, 1] - hull[:, 1] * edges[:, 0])) / 2
    # Pick's theorem: number of pixels whose centres are in the hull or on its border.
    pixels = inside + np.gcd(edges[:, 0], edges[:, 1]).sum() / 2 + 1
    area = inside + np.ptp(hull, axis=0).sum() + 1  # adds the extent of the border pixels
    shorter, longer = _least_rectangle(hull, edges)
    return _Form(
        float(np.count_nonzero(region) / pixels),
        float(area / (shorter * longer)),
        float(shorter / longer),
    )


def _hull(region: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Corners (x, y) of the convex hull of the pixel centres, in order around it, (n, 2)."""
    # Only the first and the last pixel of each row can be corners.
    rows = np.flatnonzero(region.any(axis=1))
    first = region[rows].argmax(axis=1)
    last = region.shape[1] - 1 - region[rows, ::-1].argmax(axis=1)
    left, right = _bulges(rows, -first), _bulges(rows, last)
    x = np.concatenate([first[left], last[right][::-1]])
    y = np.concatenate([rows[left], rows[right][::-1]])
    return np.stack([x, y], axis=1)


def _bulges(rows: NDArray[np.int64], reach: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the points of one side that are corners of the convex hull.

    A point that does not reach beyond the line between its neighbours is not a corner and can be
    removed, whether or not its neighbours are removed too. Once no point can be removed, the rest
    is convex.
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
    """Shorter and longer side of the minimum-area rectangle around pixels with this hull.

    One of its sides contains an edge of the hull (Freeman and Shapira, 1975,
    https://doi.org/10.1145/360881.360919). Since pixels are squares, an axis-parallel rectangle is
    also tried.
    """
    sides = np.concatenate([[[1.0, 0.0]], edges[edges.any(axis=1)]])
    sides /= np.hypot(sides[:, 0], sides[:, 1])[:, None]
    pixel = np.abs(sides).sum(axis=1)  # extent of a pixel along and across each edge
    along = np.ptp(hull @ sides.T, axis=0) + pixel
    across = np.ptp(hull @ (sides[:, ::-1] * [-1.0, 1.0]).T, axis=0) + pixel
    best = int((along * across).argmin())
    return np.minimum(along[best], across[best]), np.maximum(along[best], across[best])


def _holds_its_centre(region: NDArray[np.bool_]) -> bool:
    """Whether the pixel at the centre of mass belongs to the region."""
    rows, columns = np.nonzero(region)
    return bool(region[round(float(rows.mean())), round(float(columns.mean()))])
