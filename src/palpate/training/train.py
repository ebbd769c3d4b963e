"""Fine-tune the adapters of a model on one data set."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from torch import nn
from torch.utils.data import Dataset

from palpate.data import Augmentation, augment
from palpate.models import VLSM, save_checkpoint
from palpate.progress import Progress, silent
from palpate.randomness import generator
from palpate.training.batches import TrainingBatch
from palpate.training.features import AnyData
from palpate.training.loop import fit
from palpate.training.settings import TrainingSettings
from palpate.training.validation import score


@dataclass(frozen=True, eq=False)
class TrainingImages(Dataset[TrainingBatch]):
    """Samples as the loop wants them, augmented where that is asked for."""

    data: AnyData
    augmentation: Augmentation | None = None
    seed: int = 0
    epoch: int = 0

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> TrainingBatch:
        sample = self.data[index]
        image, mask, prompt = sample.image, sample.mask, sample.case.prompt
        if self.augmentation is not None:
            randomness = generator(self.seed, "augmentation", self.epoch, sample.case.key)
            image, mask, prompt = augment(image, mask, prompt, self.augmentation, randomness)
        return TrainingBatch(image, (prompt,), mask)

    def with_epoch(self, epoch: int) -> Self:
        """The same samples with whatever is random drawn anew for this epoch."""
        return replace(self, data=self.data.with_epoch(epoch), epoch=epoch)


def train(
    model: VLSM,
    data: AnyData,
    validation: AnyData,
    out: Path,
    settings: TrainingSettings,
    *,
    augmentation: Augmentation | None = None,
    progress: Progress = silent,
) -> Path:
    """Train the adapters of a model, or whatever of it requires gradient; resumes where it stopped.

    Args:
        model: As returned by ``load_model(..., adapter=...)``. Afterwards it has the weights of the
            last epoch; load ``out`` for those of the best.
        data: Training samples of one size.
        validation: Samples that choose the best epoch.
        out: Gets the best checkpoint, ``metrics.csv`` and the state.
        settings: Hyper-parameters.
        augmentation: Random changes of the training images; none by default, as published.
        progress: Told about every step.

    Returns:
        ``out``, which loads with ``load_model``.
    """

    def keep_best(row: dict[str, Any]) -> None:
        save_checkpoint(model, out, {"settings": vars(settings), "reached": row})

    fit(
        model,
        TrainingImages(data, augmentation, settings.seed),
        _validation(model, validation, settings),
        settings,
        out,
        keep_best=keep_best,
        identity=(
            f"train {model.base_hash} {model.adapter} {model.adapter_init} {model.adapter_width} "
            f"{augmentation} {[case.key for case in data.cases]}"
        ),
        progress=progress,
    )
    return out


def _validation(
    model: VLSM, data: AnyData, settings: TrainingSettings
) -> Callable[[nn.Module], dict[str, float]]:
    items = TrainingImages(data)
    return lambda module: score(
        module, items, model.threshold_logit, settings.batch_size, settings.precision
    )
