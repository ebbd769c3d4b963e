"""Data sets: from files, arrays, Hugging Face or phantoms to samples and batches."""

from palpate.data.augment import Augmentation, augment
from palpate.data.batches import batches
from palpate.data.boxes import Box, Prompt, boxes_of
from palpate.data.cache import cached
from palpate.data.dataset import DatasetSpec, Entry, PromptedDataset
from palpate.data.load import load_data
from palpate.data.phantoms import PHANTOMS, listening_pair
from palpate.data.prompt_policy import PromptPolicy
from palpate.data.reading.prefetch import Samples, stream
from palpate.data.sample import Batch, Case, Sample, collate
from palpate.data.sources.hugging_face import from_hugging_face
from palpate.data.sources.pairs import PAIRS, load_pairs
from palpate.data.sources.registry import DATASETS
from palpate.data.sources.samples import from_samples

__all__ = [
    "DATASETS",
    "PAIRS",
    "PHANTOMS",
    "Augmentation",
    "Batch",
    "Box",
    "Case",
    "DatasetSpec",
    "Entry",
    "Prompt",
    "PromptPolicy",
    "PromptedDataset",
    "Sample",
    "Samples",
    "augment",
    "batches",
    "boxes_of",
    "cached",
    "collate",
    "from_hugging_face",
    "from_samples",
    "listening_pair",
    "load_data",
    "load_pairs",
    "stream",
]
