"""Fine-tune a model, its adapters or whatever of it learns, on one data set."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from palpate.models import PixelModel, adapter_state, save_checkpoint
from palpate.progress import Progress, silent
from palpate.training.batches import AnyData, TrainingBatch, identity
from palpate.training.loop import fit
from palpate.training.settings import TrainingSettings
from palpate.training.supervision import learner
from palpate.training.validation import score


@dataclass(frozen=True, eq=False)
class TrainingImages(Dataset[TrainingBatch]):
    """Samples as the loop wants them."""

    data: AnyData

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> TrainingBatch:
        sample = self.data[index]
        return TrainingBatch(sample.image, (sample.prompt,), sample.mask, (sample.box,))

    def with_epoch(self, epoch: int) -> "TrainingImages":
        """The same samples with whatever is random drawn anew for this epoch."""
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
    """Train the adapters of a model, or whatever of it requires gradient; resumes where it stopped.

    Computes where the model is: on a GPU only if it was loaded there (``device="cuda"``).

    Args:
        model: As returned by ``load_model(..., adapter=...)``, or after
            :meth:`palpate.models.PixelModel.learn`. Afterwards it has the weights of the
            last epoch; load ``out`` for those of the best. To go on after a training that has
            ended, load its checkpoint and train into another folder.
        data: Training samples of one size; :meth:`PromptedDataset.augmented` gives them random
            changes, which the published recipe does without.
        validation: Samples that choose the best epoch.
        out: Gets the best checkpoint, ``metrics.csv`` and the state.
        settings: Hyper-parameters.
        progress: Told about every step.

    Returns:
        ``out``, which loads with ``load_model``.
    """

    def keep_best(row: dict[str, Any]) -> None:
        save_checkpoint(model, out, {"settings": vars(settings), "reached": row})

    fit(
        learner(model, settings),
        TrainingImages(data),
        _validation(model, validation, settings),
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
    """The weights that it was loaded with."""
    return f"{model.base_hash} {model.started_from}".strip()


def _set_up(model: PixelModel) -> str:
    """What was made of the model and, unless adapters alone, what of it learns."""
    made = " ".join(str(value) for value in model.set_up.values())
    learning = {name for name, p in model.net.named_parameters() if p.requires_grad}
    if learning == adapter_state(model.net).keys():
        return made
    return f"{made} {sha256(' '.join(sorted(learning)).encode()).hexdigest()}"


def _validation(
    model: PixelModel, data: AnyData, settings: TrainingSettings
) -> Callable[[nn.Module], dict[str, float]]:
    items = TrainingImages(data)
    return lambda module: score(
        module,
        items,
        model.threshold_logit,
        settings.batch_size,
        settings.precision,
        settings.workers,
    )
