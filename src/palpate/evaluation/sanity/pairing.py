"""Rows of different attacks on the same image at the same strength."""

SAMPLE = ["dataset", "split", "key", "prompt_level", "prompt", "seed", "protocol"]
SETTING = ["norm", "epsilon"]
LOST = 0.01  # DSC by which an attack must be beaten before it counts as weaker on an image


def percent(share: float) -> str:
    """A share of images as the card writes it.

    >>> percent(0.125)
    '12.5 %'
    """
    return f"{100 * share:.3g} %"
