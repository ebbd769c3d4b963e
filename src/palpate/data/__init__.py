"""Files to batches."""

from palpate.data.augment import Augmentation, augment
from palpate.data.batches import batches
from palpate.data.boxes import Box, Prompt, boxes_of
from palpate.data.cache import cached
from palpate.data.dataset import DatasetSpec, Entry, PromptedDataset
from palpate.data.hugging_face import from_hugging_face
from palpate.data.load import load_data
from palpate.data.own import from_samples
from palpate.data.pairs import PAIRS, load_pairs
from palpate.data.phantoms import PHANTOMS, listening_pair
from palpate.data.prompts import PromptPolicy
from palpate.data.sample import Batch, Case, Sample, collate
from palpate.data.sets import DATASETS
from palpate.data.streaming import Samples, stream

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
