"""Hyper-parameters of a training."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
Schedule: TypeAlias = Literal["step", "epoch"]
LossName: TypeAlias = Literal["dice_bce", "structure"]


@dataclass(frozen=True)
class TrainingSettings:
    """Hyper-parameters of the loop; the defaults are those of the published study.

    Raises:
        ValueError: If a value is out of range; the message names the setting.
    """

    epochs: int = 200
    """Passes over the training split."""
    batch_size: int = 32
    """Samples per step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    tower_rate: float = 1.0
    """Factor of the learning rate for the pretrained part of the image tower. Below 1 it changes
    more slowly than the rest, and keeps more of its pretraining."""
    weight_decay: float = 1e-3
    """Decoupled weight decay."""
    warmup_epochs: float = 20.0
    """Epochs of linear warm-up; fractions are allowed."""
    final_learning_rate: float = 0.01
    """Learning rate at the end of the cosine, as a fraction of the peak."""
    schedule: Schedule = "step"
    """Whether the rate changes with every step or only between epochs. With `epoch`, the first
    epoch of a warm-up has rate 0, as published."""
    loss: LossName = "dice_bce"
    """`dice_bce`: weighted sum of Dice and cross-entropy. `structure`: the loss of PraNet, IoU and
    cross-entropy weighted towards the edge. If a network has side maps, each is supervised."""
    scales: tuple[float, ...] = (1.0,)
    """Factors of the network's input size; each batch makes one step at each of them."""
    dice_weight: float = 1.5
    """Weight of the soft Dice loss."""
    bce_weight: float = 1.0
    """Weight of the binary cross-entropy."""
    clip_norm: float = 0.5
    """Largest norm of the gradient; a longer gradient is scaled down to it."""
    precision: Precision = "fp32"
    """Arithmetic of the forward and backward pass; weights and optimizer moments stay fp32."""
    validate_every: int = 1
    """Epochs from one validation to the next."""
    seed: int = 0
    """Seed of the order of samples, prompts, augmentation, dropout and new weights."""
    workers: int = 0
    """Threads that load images during training; 0 loads each batch when it is needed."""
    trackers: tuple[str, ...] = ()
    """Experiment trackers supported by accelerate: tensorboard, wandb, mlflow, ..."""

    @property
    def decisive(self) -> dict[str, Any]:
        """The settings that determine the weights; the others may change when resuming."""
        decisive = {k: v for k, v in vars(self).items() if k not in ("workers", "trackers")}
        # These settings came later: left out at their defaults, they keep older states valid.
        for name, before in (("tower_rate", 1), ("loss", "dice_bce"), ("scales", (1.0,))):
            if decisive[name] == before:
                del decisive[name]
        # So that 1 and 1.0 count as the same setting.
        return {k: float(v) if isinstance(v, int) else v for k, v in decisive.items()}

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "batch_size",
            "learning_rate",
            "tower_rate",
            "clip_norm",
            "validate_every",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"Expected {name} > 0, got {getattr(self, name)}.")
        for name in ("weight_decay", "final_learning_rate", "dice_weight", "bce_weight", "workers"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Expected {name} >= 0, got {getattr(self, name)}.")
        if not self.scales or not all(0.1 <= scale <= 10 for scale in self.scales):
            raise ValueError(f"Expected scales between 0.1 and 10, got {self.scales}.")
        for name, known in (
            ("precision", get_args(Precision)),
            ("schedule", get_args(Schedule)),
            ("loss", get_args(LossName)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"Expected {name} to be one of {', '.join(known)}, got {getattr(self, name)!r}."
                )
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"Expected 0 <= warmup_epochs < epochs, got {self.warmup_epochs:g} and "
                f"{self.epochs}; set warmup_epochs along with epochs."
            )
