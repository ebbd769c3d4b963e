"""The sanity card: checks of whether measured robustness can be trusted.

The checks are numbered. Most of them look for attacks that fail for other reasons than robustness,
because a failed attack and a robust model give the same numbers.
"""

from palpate.evaluation.sanity.card import sanity_card
from palpate.evaluation.sanity.check import (
    NAMES,
    Check,
    Status,
    load_card,
    save_card,
    worst,
)
from palpate.evaluation.sanity.from_model import card_from_model
from palpate.evaluation.sanity.from_rows import card_from_rows

__all__ = [
    "NAMES",
    "Check",
    "Status",
    "card_from_model",
    "card_from_rows",
    "load_card",
    "sanity_card",
    "save_card",
    "worst",
]
