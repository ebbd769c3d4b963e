"""Training: a model that has learned."""

from palpate.training.pretrain import pretrain
from palpate.training.settings import TrainingSettings
from palpate.training.train import train

__all__ = ["TrainingSettings", "pretrain", "train"]
