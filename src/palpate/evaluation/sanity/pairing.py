"""Columns that pair rows of different attacks on the same image at the same strength."""

SAMPLE = ["dataset", "split", "key", "prompt_level", "prompt", "seed", "protocol"]
SETTING = ["norm", "epsilon"]
LOST = 0.01  # an attack is weaker on an image if another one lowers DSC by this much more


def percent(share: float) -> str:
    """Format a share in [0, 1] as a percentage.

    >>> percent(0.125), percent(12.345)
    ('12.5 %', '1234 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if value >= 1000 else f"{value:.3g} %"
