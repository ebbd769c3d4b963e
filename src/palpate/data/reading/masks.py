"""Foreground and ignored pixels of a mask, for every source of masks.

Every mask passes :func:`read_mask`, which refuses a raster that is not binary unless a
:class:`MaskRule` says what its values mean. A pixel of a binary mask is foreground if its value is
at least half the range of the file type (128 of 255, 32768 of 65535), which removes soft edges and
JPEG ringing; a lossless file that contains only 0 and 1 is used as it is.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_opening

from palpate.data.reading.files import UnclearMask
from palpate.data.reading.mask_values import BINARY, AtLeast, MaskRule, Value, shown
from palpate.data.reading.plateaus import Raster, judge
from palpate.data.reading.stored_mask import COLOURED, StoredMask, decoded

_BLUR = np.ones((5, 5), dtype=np.bool_)  # lossy formats smear colours over as many pixels
_LISTED = 6  # values named in an error


class MaskPixels(NamedTuple):
    """Pixels of a mask as stored.

    Attributes:
        foreground: The structure, (h, w).
        ignored: Pixels that do not count, (h, w), which are not foreground; None if the rule
            ignores nothing.
    """

    foreground: Bool[np.ndarray, "h w"]
    ignored: Bool[np.ndarray, "h w"] | None


def read_mask(drawing: Image.Image, rule: MaskRule = BINARY) -> MaskPixels:
    """Read a mask as stored, without applying its EXIF orientation.

    Args:
        drawing: The mask.
        rule: Which of its values are the structure, and which are ignored.

    Returns:
        Foreground and ignored pixels.

    Raises:
        UnclearMask: If the mask is not binary and the rule does not say what its values mean, or if
            it would be read as empty although it has values above 0.
    """
    stored = decoded(drawing)
    ignored = _matching(stored, rule.ignore) if rule.ignore else None
    if rule.values:
        found = _matching(stored, rule.values)
        return MaskPixels(found if ignored is None else found & ~ignored, ignored)
    return MaskPixels(_binary(stored, ignored), ignored)


def count_values(drawing: Image.Image) -> Counter[str]:
    """Number of pixels of each value of a mask, in the order of the values.

    >>> count_values(Image.fromarray(np.uint8([[0, 0], [127, 255]])))
    Counter({'0': 2, '127': 1, '255': 1})
    """
    stored = decoded(drawing)
    counts = stored.raster.counts
    return Counter({_name(stored, n): int(counts[n]) for n in np.flatnonzero(counts).tolist()})


def shares(counts: Mapping[str, int], area: int | None = None) -> str:
    """Values with their share of the pixels, those with the largest areas, in their order.

    >>> shares(Counter({"0": 2, "127": 1, "255": 1}))
    '0 (50 % of the pixels), 127 (25 %), 255 (25 %)'

    Args:
        counts: Number of pixels of each value.
        area: Number of all pixels; by default those of ``counts``.
    """
    area = sum(counts.values()) if area is None else area
    kept = sorted(counts, key=lambda value: -counts[value])[:_LISTED]
    texts = list[str]()
    for value in (value for value in counts if value in kept):
        unit = " %" if texts else " % of the pixels"
        texts.append(f"{value} ({100 * counts[value] / area:.3g}{unit})")
    more = len(counts) - len(kept)
    return ", ".join(texts) + (f" and {more} more values" if more > 0 else "")


def _binary(stored: StoredMask, ignored: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Foreground by the threshold, after the check that the mask is binary without what is ignored.

    Raises:
        UnclearMask: If it is not.
    """
    if stored.has_shape_in_alpha:
        raise UnclearMask(
            "expected a mask in white on black, got black whose shape is in the transparency "
            "alone. Export it without transparency"
        )
    known = stored.brightness if ignored is None else stored.brightness[~ignored]
    if known.size == 0:
        return np.zeros_like(stored.brightness, dtype=np.bool_)
    threshold, low, high = (stored.top + 1) // 2, int(known.min()), int(known.max())
    rest = _without(stored, ignored)
    if high == 1 and not stored.is_lossy and (stored.colours is None or low == 0):
        threshold = 1
    elif 0 < high < threshold:
        _refuse_dark(rest, low, high)
    elif len(rest.values) > 1:
        _refuse_several(rest)
    found: NDArray[np.bool_] = stored.brightness >= threshold
    return found if ignored is None else found & ~ignored


def _without(stored: StoredMask, ignored: NDArray[np.bool_] | None) -> StoredMask:
    """The mask with ignored pixels set to its commonest other value, which leaves no new area."""
    if ignored is None or not ignored.any():
        return stored
    numbers = stored.raster.numbers.copy()
    counts = np.bincount(numbers[~ignored], minlength=len(stored.values))
    # Each ignored pixel becomes foreground or background so that no edge of another value appears.
    numbers[ignored] = int(counts.argmax())
    return StoredMask(
        Raster(numbers, stored.raster.levels), stored.values, stored.brightness, stored.top,
        stored.colours, stored.is_lossy, scale=stored.scale,
    )  # fmt: skip


def _refuse_dark(stored: StoredMask, low: int, high: int) -> None:
    """Raise an error for a mask that would be read as empty."""
    if stored.is_lossy and high <= (stored.top + 1) // 8:
        # An empty mask is of one value in any format. What is left of 0 and 1 in a JPEG is not.
        if low == high:
            return
        raise UnclearMask(
            f"expected a mask in black and white, got values from {low} to {high} in a lossy "
            "format, which would be read as empty. If it was drawn with 0 and 1, the format has "
            "destroyed it: export it again as PNG"
        )
    raise UnclearMask(
        f"expected a mask with foreground at {stored.top} (or 0 and 1 only), got "
        f"{_described(stored)}; is it a label map?",
        _listed(stored),
    )


def _refuse_several(stored: StoredMask) -> None:
    """Raise an error for a mask of more than one structure, or one that is no mask at all."""
    if stored.colours is not None and stored.is_lossy:
        _refuse_colours(stored)
        return
    verdict = judge(stored.raster)
    if verdict.is_picture:
        raise UnclearMask(
            "expected a mask in black and white, got a picture with "
            f"{int((stored.raster.counts > 0).sum())} values; was an image given as its mask?",
            (AtLeast(0.5 if stored.scale > 1 else (stored.top + 1) // 2),),
        )
    if not verdict.is_binary or _has_coloured_ground(stored, verdict.plateaus):
        values = tuple(stored.values[n] for n in verdict.plateaus)
        raise UnclearMask(
            f"expected a mask of one structure in two values, got {_described(stored, values)}",
            values,
        )


def _has_coloured_ground(stored: StoredMask, plateaus: Iterable[int]) -> bool:
    """Whether the darker of two colours is not black: which of them is the structure is unclear."""
    if stored.colours is None:
        return False
    colours = [stored.colours[n] for n in plateaus]
    darkest = min(colours, key=lambda colour: int(np.dot((299, 587, 114), colour)))
    return len(colours) > 1 and max(darkest) - min(darkest) > COLOURED


def _refuse_colours(stored: StoredMask) -> None:
    """Raise an error for several colours in a lossy file, whose values are not exact."""
    assert stored.colours is not None
    pixels = np.array(stored.colours, dtype=np.uint8)[stored.raster.numbers]
    kinds = (pixels >= 128) @ np.array([4, 2, 1])
    areas = {kind: binary_opening(kinds == kind, _BLUR) for kind in np.unique(kinds) if kind}
    seen = [tuple(map(int, pixels[area][0])) for area in areas.values() if area.any()]
    if len(seen) > 1:
        raise UnclearMask(
            f"expected a mask in one colour on black, got {' and '.join(map(str, seen))} in a "
            "lossy format, whose values cannot be picked. Export it as PNG"
        )


def _matching(stored: StoredMask, values: Iterable[Value]) -> NDArray[np.bool_]:
    """Pixels that have one of the values.

    Raises:
        UnclearMask: If exact values are asked for in a lossy file.
    """
    found = np.zeros(stored.brightness.shape, dtype=np.bool_)
    for value in values:
        if isinstance(value, AtLeast):
            found |= stored.brightness >= _brightness(stored, value.level)
            continue
        if stored.is_lossy:
            raise UnclearMask(
                f"expected a lossless file to pick the value {shown(value)} from, got a lossy one, "
                "in which edges between two values have all values in between. Export it as PNG, "
                "or pick by brightness, such as >=128"
            )
        found |= stored.raster.numbers == _number(stored, value)
    return found


def _brightness(stored: StoredMask, level: float) -> float:
    """A level in the unit of the brightness; in floats one above 1 is in 255ths, as in 8 bits."""
    if stored.scale == 1:
        return level
    return stored.scale * (level if level <= 1 else level / 255)


def _number(stored: StoredMask, value: Value) -> int:
    """Number of a value in the raster; -1 if no pixel has it."""
    known: tuple[Value, ...] = stored.values
    if stored.scale > 1 and isinstance(value, int | float):  # 0.3 is not 0.3 in 32 bits
        distances = np.abs(np.array(known, dtype=np.float64) - value)
        nearest = int(distances.argmin())
        return nearest if distances[nearest] < 1 / stored.scale else -1
    if isinstance(value, tuple) and stored.colours is not None:
        known = stored.colours
    elif isinstance(value, tuple):  # a colour in a grey mask
        if len(set(value)) > 1:
            return -1
        value = value[0]
    elif isinstance(value, int) and stored.values == stored.colours:  # a grey value in colours
        value = (value, value, value)
    return known.index(value) if value in known else -1


def _listed(stored: StoredMask) -> tuple[Value, ...]:
    """Values by descending area."""
    counts = stored.raster.counts
    order = np.argsort(-counts, kind="stable")
    return tuple(stored.values[n] for n in order if counts[n])


def _described(stored: StoredMask, values: tuple[Value, ...] | None = None) -> str:
    """Some values, by default all, with their share of the pixels."""
    counts = stored.raster.counts
    among = _listed(stored) if values is None else values
    chosen = [n for n, value in enumerate(stored.values) if value in among]
    return shares({_name(stored, n): int(counts[n]) for n in chosen}, int(counts.sum()))


def _name(stored: StoredMask, number: int) -> str:
    value = stored.values[number]
    if stored.colours is not None and isinstance(value, int):
        return f"palette index {value} {shown(stored.colours[number])}"
    return shown(value)
