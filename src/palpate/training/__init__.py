"""Fine-tuning, pretraining and distillation of models."""

from palpate.training.adversarial import Adversarial
from palpate.training.distil import distil
from palpate.training.pretrain import pretrain
from palpate.training.settings import TrainingSettings
from palpate.training.train import train
from palpate.training.watch import CatastrophicOverfittingWarning, Watch
from palpate.training.whole import train_whole

__all__ = [
    "Adversarial",
    "CatastrophicOverfittingWarning",
    "TrainingSettings",
    "Watch",
    "distil",
    "pretrain",
    "train",
    "train_whole",
]
