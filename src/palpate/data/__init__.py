"""Files to batches."""

from palpate.data.augment import Augmentation, augment
from palpate.data.batches import Samples, batches
from palpate.data.folder import DatasetSpec, FolderDataset
from palpate.data.load import load_data
from palpate.data.prompts import PromptPolicy
from palpate.data.sample import Batch, Case, Sample, collate
from palpate.data.sets import DATASETS

__all__ = [
    "DATASETS",
    "Augmentation",
    "Batch",
    "Case",
    "DatasetSpec",
    "FolderDataset",
    "PromptPolicy",
    "Sample",
    "Samples",
    "augment",
    "batches",
    "collate",
    "load_data",
]
