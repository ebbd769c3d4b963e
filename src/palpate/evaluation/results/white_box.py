"""Tell rows of white-box attacks from those of black-box and transferred attacks, by name."""

from collections.abc import Sequence

import pandas as pd

BLACK_BOX = ("square", "spsa", "nes", "simba", "hopskipjump")
TRANSFERRED = ("transfer", "from")  # "from-pranet", or as in transfer_matrix "from pranet"


def is_white(rows: pd.DataFrame) -> pd.Series:
    """Boolean mask of the rows whose attack used the gradient of the attacked model."""
    return (rows["backwards"] > 0) & ~is_one_of(rows["attack"], (*BLACK_BOX, *TRANSFERRED))


def is_one_of(names: pd.Series, kinds: Sequence[str]) -> pd.Series:
    """Which names of attacks are of these kinds; more may follow after a hyphen or space."""
    # Require a separator after the prefix, so that "nesterov" does not count as "nes".
    beginnings = tuple(kind + mark for kind in kinds for mark in "- ")
    return names.isin(kinds) | names.str.startswith(beginnings)
