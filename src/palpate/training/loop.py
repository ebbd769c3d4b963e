"""The training loop, from top to bottom."""

import csv
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW

from palpate.progress import Progress, silent
from palpate.training.batches import Epochs, loader
from palpate.training.schedule import warmup_cosine
from palpate.training.settings import TrainingSettings
from palpate.training.state import Progressed, load_state, save_state


def fit(
    model: nn.Module,
    data: Epochs,
    validate: Callable[[nn.Module], dict[str, float]],
    settings: TrainingSettings,
    folder: Path,
    *,
    keep_best: Callable[[dict[str, Any]], None],
    identity: str,
    progress: Progress = silent,
    stage: str = "training",
) -> list[dict[str, Any]]:
    """Train whatever in ``model`` requires gradient, and keep the epoch with the best DSC.

    Args:
        model: Called as ``model(inputs, prompts)``, returns logits.
        data: Training samples.
        validate: Scores the model; must return a ``"dsc"``, higher is better.
        settings: Hyper-parameters.
        folder: Gets ``state.safetensors`` and ``metrics.csv`` after every epoch. If a state is
            there, training goes on from it, to the same weights as without the interruption.
        keep_best: Called with the epoch's metrics whenever the validation DSC is the best so far.
        identity: Names what else decides the outcome (data, base weights): a state made with
            another identity or other settings is refused.
        progress: Told about every step.
        stage: What progress calls this.

    Returns:
        The metrics of every epoch.

    Raises:
        ValueError: If nothing requires gradient, or ``folder`` holds another training.
        FloatingPointError: If loss or gradient is not finite, or the gradient is zero.
    """
    from monai.losses import DiceCELoss  # takes seconds to import

    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(
        mixed_precision="no" if settings.precision == "fp32" else settings.precision,
        log_with=list(settings.trackers) or None,
        project_dir=str(folder),
    )
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("Nothing to train: no parameter requires gradient; choose an adapter.")
    optimizer = AdamW(trainable, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    done = load_state(folder, model, optimizer, f"{identity} {asdict(settings)}")
    model, optimizer = accelerator.prepare(model, optimizer)
    accelerator.init_trackers("palpate", _flat(asdict(settings)))
    criterion = DiceCELoss(
        sigmoid=True, lambda_dice=settings.dice_weight, lambda_ce=settings.bce_weight
    )
    steps = -(-len(data) // settings.batch_size)

    for epoch in range(done.epoch, settings.epochs):
        started, losses = time.perf_counter(), []
        batches = loader(
            data.with_epoch(epoch), len(data), settings.batch_size, settings.seed, epoch,
            settings.workers,
        )  # fmt: skip
        model.train()
        for step, batch in enumerate(accelerator.prepare(batches)):
            rate = _rate(epoch, step, steps, settings)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with accelerator.autocast():
                logits = model(batch.inputs, batch.prompts)
            loss = criterion(logits.float(), batch.masks.float())
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(trainable, settings.clip_norm)
            _check(loss, norm, epoch, step)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            progress(stage, epoch * steps + step + 1, settings.epochs * steps,
                     f"epoch {epoch + 1}/{settings.epochs}, loss {losses[-1]:.3f}, "
                     f"best DSC {max(done.best, 0):.3f}")  # fmt: skip

        row = {"epoch": epoch + 1, "learning_rate": rate, "loss": sum(losses) / len(losses)}
        if (epoch + 1) % settings.validate_every == 0 or epoch + 1 == settings.epochs:
            model.eval()
            row |= validate(accelerator.unwrap_model(model))
        row |= {"seconds": time.perf_counter() - started, "peak_memory_mb": peak_memory_mb()}
        done.epoch = epoch + 1
        done.history.append(row)
        accelerator.log(row, step=epoch + 1)
        if accelerator.is_main_process:
            _keep(accelerator.unwrap_model(model), optimizer, done, folder, keep_best)
    accelerator.end_training()
    return done.history


def peak_memory_mb() -> float:
    """The most memory this process has held so far: of the GPU where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _keep(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    done: Progressed,
    folder: Path,
    keep_best: Callable[[dict[str, Any]], None],
) -> None:
    row = done.history[-1]
    if row.get("dsc", -1.0) > done.best:
        done.best = row["dsc"]
        keep_best(row)
    # After the best checkpoint: killed in between, the epoch is done again, with the same result.
    save_state(folder, model, optimizer, done)
    _write_csv(folder / "metrics.csv", done.history)


def _rate(epoch: int, step: int, steps: int, settings: TrainingSettings) -> float:
    """Learning rate of a step."""
    if settings.schedule == "epoch":
        at: float = epoch
    else:  # a step late, so that the very first one already moves
        at = epoch + (step + 1) / steps
    factor = warmup_cosine(
        at, settings.warmup_epochs, settings.epochs, settings.final_learning_rate
    )
    return settings.learning_rate * factor


def _check(loss: Tensor, norm: Tensor | None, epoch: int, step: int) -> None:
    where = f"in epoch {epoch + 1}, step {step + 1}"
    if not bool(loss.isfinite()):
        raise FloatingPointError(
            f"The training loss is {loss.item()} {where}. Lower the learning rate, or use fp32."
        )
    if norm is not None and float(norm) == 0:
        raise FloatingPointError(
            f"The gradient is zero {where}: the output does not depend on what is trained."
        )


def _write_csv(path: Path, history: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in history for name in row))
    with path.with_suffix(".partial").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)
    (path.with_suffix(".partial")).replace(path)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    return {k: ", ".join(v) if isinstance(v, tuple) else v for k, v in settings.items()}
