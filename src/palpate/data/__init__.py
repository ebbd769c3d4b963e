"""Files to batches."""

from palpate.data.folder import DatasetSpec, FolderDataset
from palpate.data.load import load_data
from palpate.data.prompts import PromptPolicy
from palpate.data.sample import Batch, Case, Sample, collate
from palpate.data.sets import DATASETS

__all__ = [
    "DATASETS",
    "Batch",
    "Case",
    "DatasetSpec",
    "FolderDataset",
    "PromptPolicy",
    "Sample",
    "collate",
    "load_data",
]
