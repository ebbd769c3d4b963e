"""Training: a model that has learned."""

from palpate.training.pretrain import pretrain
from palpate.training.settings import TrainingSettings

__all__ = ["TrainingSettings", "pretrain"]
