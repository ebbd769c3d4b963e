"""Windowing: conversion of measured values to 8-bit grey values."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from palpate.errors import did_you_mean

Curve: TypeAlias = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
AUTO, FULL = "auto", "full"

_TAILS = (0.5, 99.5)  # percentiles shown as black and white if no window is known


@dataclass(frozen=True)
class Window:
    """A display window: the range of values that is shown from black to white.

    Attributes:
        centre: Value that is shown as middle grey.
        width: Difference between the values shown as white and black; at least 1 for ``LINEAR``.
        curve: VOI LUT function of DICOM (PS3.3, C.11.2.1): ``LINEAR`` differs from
            ``LINEAR_EXACT`` by half a step, ``SIGMOID`` approaches black and white smoothly.
    """

    centre: float
    width: float
    curve: Curve = "LINEAR_EXACT"

    def __post_init__(self) -> None:
        smallest = 1.0 if self.curve == "LINEAR" else 0.0
        wide_enough = self.width >= 1 if self.curve == "LINEAR" else self.width > 0
        if not (wide_enough and np.isfinite([self.centre, self.width]).all()):
            raise ValueError(
                f"Expected a finite window of more than {smallest:g} in width, got centre "
                f"{self.centre:g} and width {self.width:g}."
            )

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Map values to grey in [0, 1], of the same shape.

        >>> Window(50.0, 100.0).apply(np.array([-10, 0, 50, 100, 200])).tolist()
        [0.0, 0.0, 0.5, 1.0, 1.0]
        """
        exact = values.astype(np.float64)
        # The limits of the exponent avoid overflow far outside the window.
        if self.curve == "SIGMOID":
            unit = 1 / (1 + np.exp(np.clip(-4 * (exact - self.centre) / self.width, -700, 700)))
        elif self.curve == "LINEAR" and self.width == 1:
            unit = (exact > self.centre - 0.5).astype(np.float64)
        elif self.curve == "LINEAR":
            unit = (exact - (self.centre - 0.5)) / (self.width - 1) + 0.5
        else:
            unit = (exact - self.centre) / self.width + 0.5
        return np.clip(unit, 0, 1).astype(np.float32)


# In Hounsfield units.
WINDOWS = {
    "ct-abdomen": Window(60.0, 400.0),
    "ct-bone": Window(400.0, 1800.0),
    "ct-brain": Window(40.0, 80.0),
    "ct-liver": Window(60.0, 160.0),
    "ct-lung": Window(-600.0, 1500.0),
    "ct-mediastinum": Window(50.0, 350.0),
}


def window_from(text: str) -> Window | str:
    """Parse a window: a name in ``WINDOWS``, ``CENTRE,WIDTH``, ``auto`` or ``full``.

    >>> window_from("ct-brain") == window_from("40,80"), window_from("auto")
    (True, 'auto')

    Raises:
        ValueError: If the text is none of these.
    """
    if text in (AUTO, FULL):
        return text
    if text in WINDOWS:
        return WINDOWS[text]
    try:
        centre, width = map(float, text.split(","))
    except ValueError:
        known = (AUTO, FULL, *WINDOWS)
        raise ValueError(
            f"Expected a window among {', '.join(known)}, or CENTRE,WIDTH such as 40,80, got "
            f"{text!r}.{did_you_mean(text, known)}"
        ) from None
    return Window(centre, width)


def check_finite(voxels: NDArray[Any], *, nan_is_background: bool = False) -> None:
    """Raise an error if there are NaN or infinite values.

    Args:
        voxels: Values of any type and shape.
        nan_is_background: Whether such values are allowed, unless there are no others.

    Raises:
        ValueError: If there are such values; says how many.
    """
    if voxels.dtype.kind != "f":
        return
    bad = int(np.count_nonzero(~np.isfinite(voxels)))
    if bad == voxels.size:
        raise ValueError(f"expected numbers, got NaN or infinity in all {bad} voxels")
    if bad and not nan_is_background:
        raise ValueError(
            f"expected finite values only, got NaN or infinity in {bad} of {voxels.size} voxels; "
            "if these are background, choose the option nan background"
        )


def greys(
    voxels: NDArray[Any],
    wanted: Window | str,
    stated: Window | None,
    *,
    inverted: bool = False,
    nan_is_background: bool = False,
) -> NDArray[np.uint8]:
    """Convert a whole volume to 8-bit grey values, so that its slices remain comparable.

    Args:
        voxels: Values of any type and shape.
        wanted: A window; ``full`` for the full range of values; ``auto`` for the window of the
            file, else unchanged values if they have 8 bits, else the range from the 0.5th to the
            99.5th percentile.
        stated: Window of the file; None if it has none.
        inverted: Whether large values are dark (MONOCHROME1).
        nan_is_background: Whether NaN and infinite values are shown black instead of an error; they
            do not count for the range.

    Returns:
        Grey values of the same shape.

    Raises:
        ValueError: If there are NaN or infinite values that are not background.
    """
    finite = np.isfinite(voxels)
    if not finite.all():
        check_finite(voxels, nan_is_background=nan_is_background)
        inside = greys(voxels[finite], wanted, stated, inverted=inverted)
        shades = np.zeros(voxels.shape, dtype=np.uint8)
        shades[finite] = inside
        return shades
    window = stated if wanted == AUTO else None
    if isinstance(wanted, Window):
        window = wanted
    if window is None and wanted == AUTO and voxels.dtype == np.uint8:
        shades = voxels
    else:
        shades = _shades(voxels, window or _range(voxels, wanted))
    return np.asarray(255 - shades if inverted else shades)


def _shades(voxels: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    return np.asarray(np.rint(window.apply(voxels) * 255).astype(np.uint8))


def _range(voxels: NDArray[Any], wanted: Window | str) -> Window:
    tails = (0, 100) if wanted == FULL else _TAILS
    low, high = (float(value) for value in np.percentile(voxels, tails))
    if low == high:  # nearly all voxels are background, so that both percentiles are too
        low, high = float(voxels.min()), float(voxels.max())
    return Window((low + high) / 2, (high - low) or 1.0)
