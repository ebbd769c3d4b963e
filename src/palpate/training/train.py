"""Fine-tune the adapters or other trainable parameters of a model on one data set."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from palpate.models import PixelModel, adapter_state, save_checkpoint
from palpate.progress import Progress, silent
from palpate.training.adversarial import Adversarial
from palpate.training.batches import AnyData, TrainingBatch, identity
from palpate.training.loop import fit
from palpate.training.settings import TrainingSettings
from palpate.training.validation import scorer
from palpate.training.watch import MIXED, Watch, watched


@dataclass(frozen=True, eq=False)
class TrainingImages(Dataset[TrainingBatch]):
    """The samples of a data set, in the format of the training loop."""

    data: AnyData

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> TrainingBatch:
        sample = self.data[index]
        return TrainingBatch(
            sample.image, (sample.prompt,), sample.mask, (sample.box,), sample.ignored
        )

    def with_epoch(self, epoch: int) -> "TrainingImages":
        """The same samples, with prompts and augmentation sampled for this epoch."""
        return TrainingImages(self.data.with_epoch(epoch))


def train(
    model: PixelModel,
    data: AnyData,
    validation: AnyData,
    out: Path,
    settings: TrainingSettings,
    *,
    adversarial: Adversarial | None = None,
    watch: Watch | None = None,
    progress: Progress = silent,
) -> Path:
    """Train all parameters of a model that require gradient, such as its adapters.

    Training runs on the model's device; load the model with ``device="cuda"`` to use a GPU. An
    interrupted training resumes from its last finished epoch. To continue a finished training, load
    its checkpoint and train into another folder.

    Args:
        model: A model from ``load_model(..., adapter=...)``, or one whose trainable parameters were
            selected with :meth:`palpate.models.PixelModel.learn`. Changed in place: it ends with
            the weights of the last epoch, while ``out`` contains those of the best epoch.
        data: Training samples of one size. Use :meth:`PromptedDataset.augmented` for augmentation,
            which the published recipe does not use.
        validation: Samples used to select the best epoch.
        out: Output folder for the best checkpoint, ``metrics.csv`` and the training state.
        settings: Hyperparameters.
        adversarial: How images are attacked during training; None for ordinary training.
        watch: Attack on validation images after every epoch, whose DSC takes part in the choice of
            the best epoch; None for the clean DSC alone.
        progress: Called after every step.

    Returns:
        ``out``, which can be loaded with ``load_model``.
    """

    def keep_best(row: dict[str, Any]) -> None:
        save_checkpoint(model, out, {"settings": vars(settings), "reached": row})

    held_out = TrainingImages(validation)
    validate = scorer(held_out, model.threshold_logit, settings)
    if watch is not None:
        history = out / "metrics.csv"
        validate = watched(validate, watch, held_out, history, batch_size=settings.batch_size)
    hardened = "".join(f" {part.identity}" for part in (adversarial, watch) if part is not None)
    fit(
        trainable(model, settings),
        TrainingImages(data),
        validate,
        settings,
        out,
        keep_best=keep_best,
        identity=(
            f"train {_start(model)} {_set_up(model)} {model.threshold} "
            f"{identity(data, validation)}{hardened}"
        ),
        judged_by="dsc" if watch is None else MIXED,
        adversarial=adversarial,
        progress=progress,
    )
    return out


def _start(model: PixelModel) -> str:
    """Text that identifies the weights before training."""
    return f"{model.base_hash} {model.started_from}".strip()


def _set_up(model: PixelModel) -> str:
    """Text that identifies how the model was loaded, and its trainable parameters.

    The parameters are left out if exactly the adapters are trained.
    """
    made = " ".join(str(value) for value in model.set_up.values())
    learning = {name for name, p in model.net.named_parameters() if p.requires_grad}
    if learning == adapter_state(model.net).keys():
        return made
    return f"{made} {sha256(' '.join(sorted(learning)).encode()).hexdigest()}"


def trainable(model: PixelModel, settings: TrainingSettings) -> nn.Module:
    """The module to train: the model itself, or a wrapper that also returns its side outputs.

    The wrapper is needed if the model has side outputs or is trained at several scales.

    Raises:
        ValueError: If the model cannot be trained at several scales.
    """
    if not model.sides and settings.scales == (1.0,):
        return model
    if model.wants_boxes:  # promptable networks have a fixed input size
        scales = ", ".join(f"{scale:g}" for scale in settings.scales)
        raise ValueError(f"{model.name} cannot be trained at several scales, got {scales}.")
    return DeeplySupervised(model)


class DeeplySupervised(nn.Module):
    """Deep supervision: returns all maps in training mode, only the main one in evaluation mode."""

    def __init__(self, model: PixelModel) -> None:
        super().__init__()
        self.model, self.tower = model, model.tower

    def forward(self, images: Tensor, prompts: tuple[str, ...], *, scale: float = 1.0) -> Tensor:
        found: Tensor
        if self.training:
            found = self.model.side_maps(images, prompts, scale=scale)
        else:
            found = self.model(images, prompts)
        return found
