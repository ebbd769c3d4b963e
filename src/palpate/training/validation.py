"""Validation scores: mean DSC and IoU over validation samples."""

from collections.abc import Callable

import torch
from torch import nn

from palpate import overlap
from palpate.prompting import box_options, without_ignored
from palpate.training.batches import Items, in_order
from palpate.training.criterion import Criterion, criterion_of
from palpate.training.schedule import VALIDATION_LOSS
from palpate.training.settings import TrainingSettings


def scorer(
    data: Items, threshold_logit: float, settings: TrainingSettings
) -> Callable[[nn.Module], dict[str, float]]:
    """Create a function that computes :func:`score` of a model, with the settings of training.

    The validation loss, the training loss on the validation samples, is computed only if the
    schedule depends on it.
    """
    loss = criterion_of(settings) if settings.schedule == "plateau" else None
    return lambda module: score(
        module,
        data,
        threshold_logit,
        settings.batch_size,
        settings.precision,
        settings.workers,
        loss,
    )


@torch.no_grad()
def score(
    model: nn.Module,
    data: Items,
    threshold_logit: float,
    batch_size: int,
    precision: str = "fp32",
    workers: int = 0,
    loss: Criterion | None = None,
) -> dict[str, float]:
    """Compute mean DSC and IoU over samples, at the size of the samples.

    Args:
        model: Called as ``model(inputs, prompts)``; must be in evaluation mode.
        data: Samples of one size.
        threshold_logit: Logit above which a pixel is foreground.
        batch_size: Samples per forward pass.
        precision: ``"bf16"`` runs the forward pass in bfloat16.
        workers: Number of threads that prefetch samples.
        loss: A loss of logits and masks, averaged over the batch.

    Returns:
        The means under the names ``dsc`` and ``iou``, and ``validation_loss`` if there is a loss.

    Raises:
        ValueError: If there are no samples.
        FloatingPointError: If a logit is not finite.
    """
    if len(data) == 0:
        raise ValueError("Nothing to validate on: the validation split is empty.")
    device = next(model.parameters()).device
    dice, iou, losses = [], [], []
    for batch in in_order(data, batch_size, workers):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            boxes = box_options(model, batch.boxes)
            logits = model(batch.inputs.to(device), batch.prompts, **boxes)
        logits = logits.float().cpu()
        if not bool(logits.isfinite().all()):
            raise FloatingPointError("A validation logit is not finite; the model is broken.")
        logits = without_ignored(logits, batch.ignored)
        if loss is not None:
            losses += [loss(logits, batch.masks.float(), batch.ignored).item()] * len(logits)
        predictions = overlap.binarise(logits, threshold_logit)
        counts = overlap.count(predictions, batch.masks)
        dice.append(overlap.dice(counts))
        iou.append(overlap.iou(counts))
    found = {"dsc": torch.cat(dice).mean().item(), "iou": torch.cat(iou).mean().item()}
    return found | ({VALIDATION_LOSS: sum(losses) / len(losses)} if losses else {})
