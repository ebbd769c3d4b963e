"""Hyperparameters of training."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
Schedule: TypeAlias = Literal["step", "epoch", "plateau"]
LossName: TypeAlias = Literal["dice_bce", "structure", "published"]


@dataclass(frozen=True)
class TrainingSettings:
    """Hyperparameters of training; the defaults are those of the published study.

    Raises:
        ValueError: If a value is out of range; the message names the setting.
    """

    epochs: int = 200
    """Number of passes over the training split."""
    batch_size: int = 32
    """Number of samples per batch."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    tower_rate: float = 1.0
    """Learning-rate factor of the pretrained image encoder. Values below 1 preserve more of its
    pretraining."""
    weight_decay: float = 1e-3
    """Weight decay of AdamW."""
    warmup_epochs: float = 20.0
    """Number of epochs of linear learning-rate warm-up; may be fractional."""
    final_learning_rate: float = 0.01
    """Final learning rate of the cosine decay, as a fraction of the peak."""
    schedule: Schedule = "step"
    """Update the learning rate after every step (`step`) or every epoch (`epoch`). With `epoch`
    and warm-up, the first epoch has learning rate 0, as in the published study. `plateau` has no
    warm-up and no decay, but reduces the learning rate when the validation loss no longer falls."""
    plateau_patience: int = 5
    """With `plateau`: number of validations without a lower loss after which the learning rate is
    reduced by the next one."""
    plateau_factor: float = 0.1
    """With `plateau`: factor of the learning rate at each reduction."""
    early_stopping: int = 0
    """Stop after this many validations in a row without a better DSC; 0 trains all epochs."""
    early_stopping_delta: float = 1e-4
    """Smallest increase of the DSC that counts as better, for `early_stopping`."""
    min_epochs: int = 1
    """Number of epochs before which `early_stopping` does not stop."""
    loss: LossName = "dice_bce"
    """`dice_bce`: weighted sum of Dice loss and cross-entropy. `structure`: the loss of PraNet, IoU
    loss and cross-entropy with higher weights near edges. `published`: the loss of VLSM-Adapter and
    of the attack study, which is `dice_bce` with probabilities in place of the logits of the
    cross-entropy. Side outputs of a network use the same loss."""
    scales: tuple[float, ...] = (1.0,)
    """Scales for multi-scale training, relative to the network's input size. Each batch is used for
    one optimizer step at each scale."""
    dice_weight: float = 1.5
    """Weight of the soft Dice loss."""
    bce_weight: float = 1.0
    """Weight of the binary cross-entropy."""
    clip_norm: float = 0.5
    """Maximum L2 norm of the gradient (gradient clipping)."""
    precision: Precision = "fp32"
    """Precision of forward and backward pass; weights and optimizer state are always fp32."""
    validate_every: int = 1
    """Number of epochs between validations."""
    seed: int = 0
    """Seed of sample order, prompts, augmentation, dropout and newly initialised weights."""
    workers: int = 0
    """Number of threads that prefetch images; 0 loads each batch when it is needed."""
    trackers: tuple[str, ...] = ()
    """Experiment trackers supported by accelerate: tensorboard, wandb, mlflow, ..."""

    @property
    def decisive(self) -> dict[str, Any]:
        """The settings that determine the trained weights; others may change on resumption."""
        decisive = {k: v for k, v in vars(self).items() if k not in ("workers", "trackers")}
        # These settings were added later. At their defaults they are left out, so that states saved
        # before remain valid.
        for name, before in (
            ("tower_rate", 1),
            ("loss", "dice_bce"),
            ("scales", (1.0,)),
            ("plateau_patience", 5),
            ("plateau_factor", 0.1),
            ("early_stopping", 0),
            ("early_stopping_delta", 1e-4),
            ("min_epochs", 1),
        ):
            if decisive[name] == before:
                del decisive[name]
        # Compare as floats, so that 1 and 1.0 are the same setting.
        return {k: float(v) if isinstance(v, int) else v for k, v in decisive.items()}

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "batch_size",
            "learning_rate",
            "tower_rate",
            "clip_norm",
            "validate_every",
            "min_epochs",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"Expected {name} > 0, got {getattr(self, name)}.")
        for name in (
            "weight_decay",
            "final_learning_rate",
            "dice_weight",
            "bce_weight",
            "workers",
            "plateau_patience",
            "early_stopping",
            "early_stopping_delta",
        ):
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
        if not 0 < self.plateau_factor < 1:
            raise ValueError(f"Expected 0 < plateau_factor < 1, got {self.plateau_factor}.")
        if self.schedule == "plateau" and self.warmup_epochs:
            raise ValueError(
                f"Expected warmup_epochs 0 with schedule plateau, got {self.warmup_epochs:g}."
            )
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"Expected 0 <= warmup_epochs < epochs, got {self.warmup_epochs:g} and "
                f"{self.epochs}; set warmup_epochs along with epochs."
            )
