"""Radii in steps of an 8-bit image, as users write them: 8 or 8/255."""

import re

LEAST, LARGEST = 0.1, 255.0
_FRACTION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*/\s*(\d+)\s*")


def grey_levels(value: object) -> float:
    """Read a radius in steps of an 8-bit image; 8 and 8/255 are the same.

    >>> grey_levels(8), grey_levels("8"), grey_levels("8/255")
    (8.0, 8.0, 8.0)

    Raises:
        ValueError: If it is no number, a fraction of something other than 255, or outside 0.1 to
            255. A smaller number could also be meant in pixel values: 0.031 is nearly 8/255.
    """
    fraction = _FRACTION.fullmatch(value) if isinstance(value, str) else None
    if fraction is not None and fraction[2] != "255":
        raise ValueError(
            f"Expected a radius in steps of an 8-bit image, as 8 or 8/255, got {value!r}. Write "
            "the number of grey levels alone, or over 255."
        )
    try:
        steps = float(fraction[1] if fraction else value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected a radius in steps of an 8-bit image, as 8 or 8/255, got {value!r}."
        ) from None
    if not LEAST <= steps <= LARGEST:
        pixels = f" {steps:g} in pixel values is {steps * 255:.3g}." if 0 < steps < LEAST else ""
        raise ValueError(
            f"Expected a radius in steps of an 8-bit image, {LEAST} to {LARGEST:g} (8 for 8/255), "
            f"got {value}.{pixels}"
        )
    return steps
