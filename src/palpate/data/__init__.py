"""Files to batches."""

from palpate.data.augment import Augmentation, augment
from palpate.data.batches import Samples, batches
from palpate.data.dataset import DatasetSpec, Entry, PromptedDataset
from palpate.data.load import load_data
from palpate.data.pairs import PAIRS, load_pairs
from palpate.data.phantoms import PHANTOMS, listening_pair
from palpate.data.prompts import PromptPolicy
from palpate.data.sample import Batch, Case, Sample, collate
from palpate.data.sets import DATASETS

__all__ = [
    "DATASETS",
    "PAIRS",
    "PHANTOMS",
    "Augmentation",
    "Batch",
    "Case",
    "DatasetSpec",
    "Entry",
    "PromptPolicy",
    "PromptedDataset",
    "Sample",
    "Samples",
    "augment",
    "batches",
    "collate",
    "listening_pair",
    "load_data",
    "load_pairs",
]
