"""The prompts of a mask that was just prepared."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def write_texts(
    dataset: str,
    structure: str,
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    facts: Mapping[str, str],
) -> dict[str, str | list[str]]:
    """Texts by level: nothing at ``p0``, the structure at ``p1``."""
    del dataset, image, mask, facts
    return {"p0": "", "p1": structure}
