"""The sanity card: numbered checks of whether measured robustness can be trusted.

A failed attack and a robust model give the same scores. Most checks therefore look for attacks
that fail for a reason other than robustness.
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
