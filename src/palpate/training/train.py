"""Fine-tune a model on one data set: its adapters, or all parameters set to learn."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from palpate.models import PixelModel, adapter_state, save_checkpoint
from palpate.progress import Progress, silent
from palpate.training.batches import AnyData, TrainingBatch, identity
from palpate.training.loop import fit
from palpate.training.settings import TrainingSettings
from palpate.training.validation import scorer


@dataclass(frozen=True, eq=False)
class TrainingImages(Dataset[TrainingBatch]):
    """The samples of a data set as items for the training loop."""

    data: AnyData

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> TrainingBatch:
        sample = self.data[index]
        return TrainingBatch(sample.image, (sample.prompt,), sample.mask, (sample.box,))

    def with_epoch(self, epoch: int) -> "TrainingImages":
        """The same samples, with prompts and augmentation drawn for this epoch."""
        return TrainingImages(self.data.with_epoch(epoch))


def train(
    model: PixelModel,
    data: AnyData,
    validation: AnyData,
    out: Path,
    settings: TrainingSettings,
    *,
    progress: Progress = silent,
) -> Path:
    """Train the adapters of a model, or whatever requires a gradient; resumes after interruption.

    Computation runs on the model's device: on a GPU only if it was loaded there
    (``device="cuda"``).

    Args:
        model: As returned by ``load_model(..., adapter=...)``, or after
            :meth:`palpate.models.PixelModel.learn`. Afterwards it has the weights of the
            last epoch; load ``out`` for those of the best. To continue a finished training, load
            its checkpoint and train into another folder.
        data: Training samples of one size. :meth:`PromptedDataset.augmented` adds augmentation,
            which the published recipe does not use.
        validation: Samples by whose score the best epoch is chosen.
        out: The best checkpoint, ``metrics.csv`` and the state are written here.
        settings: Hyper-parameters.
        progress: Called after every step.

    Returns:
        ``out``, which loads with ``load_model``.
    """

    def keep_best(row: dict[str, Any]) -> None:
        save_checkpoint(model, out, {"settings": vars(settings), "reached": row})

    fit(
        trainable(model, settings),
        TrainingImages(data),
        scorer(TrainingImages(validation), model.threshold_logit, settings),
        settings,
        out,
        keep_best=keep_best,
        identity=(
            f"train {_start(model)} {_set_up(model)} {model.threshold} {identity(data, validation)}"
        ),
        progress=progress,
    )
    return out


def _start(model: PixelModel) -> str:
    """A text that names the weights before training."""
    return f"{model.base_hash} {model.started_from}".strip()


def _set_up(model: PixelModel) -> str:
    """How the model was set up and, unless only adapters are trained, which parameters are."""
    made = " ".join(str(value) for value in model.set_up.values())
    learning = {name for name, p in model.net.named_parameters() if p.requires_grad}
    if learning == adapter_state(model.net).keys():
        return made
    return f"{made} {sha256(' '.join(sorted(learning)).encode()).hexdigest()}"


def trainable(model: PixelModel, settings: TrainingSettings) -> nn.Module:
    """The module that the loop trains: the model, or a wrapper that gives its side maps as well.

    The wrapper is needed if the model has side maps or is trained at several scales.

    Raises:
        ValueError: If the model cannot be trained at several scales.
    """
    if not model.sides and settings.scales == (1.0,):
        return model
    if model.wants_boxes:  # such networks have inputs of one size
        scales = ", ".join(f"{scale:g}" for scale in settings.scales)
        raise ValueError(f"{model.name} cannot be trained at several scales, got {scales}.")
    return DeeplySupervised(model)


class DeeplySupervised(nn.Module):
    """Returns all maps of a model in training mode and only its output in evaluation mode."""

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
