"""Splits into training, validation and test: random, published, and across data sets."""

from palpate.data.splits.deal import FRACTIONS, Item, deal, fold, splits_of_fold
from palpate.data.splits.protocols import POOLS, PROTOCOLS, CrossDataset, is_pool, members
from palpate.data.splits.published import PublishedSplit, published_sets, published_split

__all__ = [
    "FRACTIONS",
    "POOLS",
    "PROTOCOLS",
    "CrossDataset",
    "Item",
    "PublishedSplit",
    "deal",
    "fold",
    "is_pool",
    "members",
    "published_sets",
    "published_split",
    "splits_of_fold",
]
