"""The sanity card: can the robustness that was measured be believed?

The checks are numbered; most look for attacks that fail for reasons of their own, since a failed
attack is what a robust model looks like.
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
