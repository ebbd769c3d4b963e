"""Models: from images and prompts to logits."""

from palpate.models.adapters import ADAPTERS, adapt, adapter_state
from palpate.models.checkpoints import save_checkpoint
from palpate.models.dinov2 import build_from_dinov2
from palpate.models.directory import write_half, write_model
from palpate.models.loading import load_model
from palpate.models.student import StudentSize, shrink
from palpate.models.vlsm import VLSM, Encoded, Preprocessing
from palpate.models.vocabulary import learn_vocabulary

__all__ = [
    "ADAPTERS",
    "VLSM",
    "Encoded",
    "Preprocessing",
    "StudentSize",
    "adapt",
    "adapter_state",
    "build_from_dinov2",
    "learn_vocabulary",
    "load_model",
    "save_checkpoint",
    "shrink",
    "write_half",
    "write_model",
]
