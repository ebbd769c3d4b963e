"""Who learns, who chooses and who is tested: made, published, and across data sets."""

from palpate.data.splits.deal import FRACTIONS, Item, deal, fold, splits_of_fold

__all__ = [
    "FRACTIONS",
    "Item",
    "deal",
    "fold",
    "splits_of_fold",
]
