"""Data sets from files, arrays, Hugging Face or phantoms; samples and batches of them."""

import warnings
from typing import Any

from palpate.data.augment import Augmentation, augment
from palpate.data.batches import batches
from palpate.data.boxes import boxes_of
from palpate.data.cache import cached
from palpate.data.dataset import DatasetSpec, Entry, PromptedDataset
from palpate.data.load import load_data
from palpate.data.phantoms import PHANTOMS, listening_pair
from palpate.data.prompt_policy import PromptPolicy
from palpate.data.reading.prefetch import Samples, stream
from palpate.data.sample import Batch, Case, Sample, collate
from palpate.data.sources.hugging_face import from_hugging_face
from palpate.data.sources.pairs import NO_FOREGROUND, PAIRS, load_pairs
from palpate.data.sources.registry import DATASETS
from palpate.data.sources.samples import from_samples
from palpate.types import Box

__all__ = [
    "DATASETS",
    "NO_FOREGROUND",
    "PAIRS",
    "PHANTOMS",
    "Augmentation",
    "Batch",
    "Box",
    "Case",
    "DatasetSpec",
    "Entry",
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


def __getattr__(name: str) -> Any:
    # A module attribute would not warn; this runs only if a name is not found otherwise.
    if name == "Prompt":
        from palpate.data.boxes import Prompt

        warnings.warn(
            "palpate.data.Prompt is deprecated: pass boxes to the model instead, "
            "model(images, prompts=[...], boxes=[(left, top, right, bottom), ...]).",
            DeprecationWarning,
            stacklevel=2,
        )
        return Prompt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
