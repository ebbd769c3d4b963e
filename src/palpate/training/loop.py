"""The training loop, with validation, selection of the best epoch, and exact resumption."""

import csv
import io
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.distributed import is_initialized
from torch.optim import AdamW

from palpate.atomic import write_text
from palpate.models.clipseg.adapters import adapter_state
from palpate.progress import Progress, silent
from palpate.prompting import box_options, without_ignored
from palpate.randomness import seed_for, seeded
from palpate.training.adversarial import Adversarial, Moment
from palpate.training.batches import Batches, Epochs, shuffled
from palpate.training.criterion import Criterion, criterion_of
from palpate.training.schedule import (
    VALIDATION_LOSS,
    is_over,
    learning_rate,
    rate_on_plateau,
)
from palpate.training.settings import TrainingSettings
from palpate.training.state import Progressed, load_state, save_state

_TOWER = "vision_model."  # name of the image encoder in models that do not define ``tower``
_PATCHED = ("forward", "_original_forward")  # attributes that Accelerate sets on a model


def fit(
    model: nn.Module,
    data: Epochs,
    validate: Callable[[nn.Module], dict[str, float]],
    settings: TrainingSettings,
    folder: Path,
    *,
    keep_best: Callable[[dict[str, Any]], None],
    identity: str,
    criterion: Criterion | None = None,
    judged_by: str = "dsc",
    adversarial: Adversarial | None = None,
    progress: Progress = silent,
    stage: str = "training",
) -> list[dict[str, Any]]:
    """Train all parameters of ``model`` that require gradient, and keep the best epoch.

    Args:
        model: Called as ``model(inputs, prompts)``, with ``scale=...`` for scales other than 1 and
            with ``boxes=...`` if it needs boxes. Returns logits.
        data: Training samples, which may be sampled anew in every epoch.
        validate: Returns the validation scores of the model by name; higher is better.
        settings: Hyperparameters.
        folder: Output folder for ``state.safetensors`` and ``metrics.csv``, which are written after
            every epoch. If it contains a state, training resumes from it and ends with the same
            weights as an uninterrupted training.
        keep_best: Called with the metrics of an epoch if its score is the best so far.
        identity: Text that identifies everything else that determines the result, such as data and
            base weights. A state with another identity or other settings is refused.
        criterion: Loss function of outputs and masks, in float32; by default the loss selected in
            ``settings``.
        judged_by: Name of the score that selects the best epoch.
        adversarial: How images are attacked before each step; None to learn from clean images.
        progress: Called after every step.
        stage: Name of this stage for ``progress``.

    Returns:
        The metrics of every epoch; fewer than ``settings.epochs`` if it stopped early.

    Raises:
        ValueError: If no parameter requires gradient, there are no samples, or ``folder`` contains
            the state of another training.
        FloatingPointError: If the loss or the gradient is not finite, or the gradient is zero.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("Nothing to train: no parameter requires gradient; choose an adapter.")
    if len(data) == 0:
        raise ValueError("Nothing to train on: the training split is empty.")
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = AdamW(
        _groups(model, settings), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    done = load_state(folder, model, optimizer, f"{identity} {settings.decisive}")
    segments, criterion = criterion is None, criterion or criterion_of(settings)
    if adversarial is not None:
        criterion = adversarial.criterion(criterion)
    with _accelerated(model, optimizer, settings, folder, done) as (accelerator, model, optimizer):
        for epoch in range(done.epoch, settings.epochs):
            if is_over(done.history, judged_by, settings):
                break
            by_plateau = settings.schedule == "plateau"
            reduced = rate_on_plateau(done.history, settings) if by_plateau else None
            started, losses, rate = time.perf_counter(), [], 0.0
            batches = _share(accelerator, data, epoch, settings)
            steps = len(batches)
            model.train()
            # Dropout uses torch's global generator. It is seeded per epoch, so that a resumed
            # epoch is identical to an uninterrupted one while epochs differ from each other.
            with seeded(seed_for(settings.seed, "layers", epoch, accelerator.process_index)):
                for step, clean in enumerate(batches):
                    rate = reduced or learning_rate(epoch, step, steps, settings)
                    for group in optimizer.param_groups:
                        group["lr"] = rate * group["share"]
                    at = Moment(epoch, step, steps, settings.seed, accelerator.process_index)
                    plain = accelerator.unwrap_model(model)
                    given = adversarial.batches(plain, clean, at) if adversarial else (clean,)
                    # One after the other: free training waits for the gradient of a step.
                    for batch, scale in ((b, scale) for b in given for scale in settings.scales):
                        options = box_options(model, batch.boxes)
                        options |= {} if scale == 1 else {"scale": scale}
                        with accelerator.autocast():
                            logits = model(batch.inputs, batch.prompts, **options)
                        # A loss of hidden states, as in distillation, reads no masks.
                        ignored = batch.ignored if segments else None
                        logits = without_ignored(logits.float(), ignored)
                        told = () if ignored is None else (ignored,)
                        loss = criterion(logits, batch.masks.float(), *told)
                        accelerator.backward(loss)
                        norm = accelerator.clip_grad_norm_(trainable, settings.clip_norm)
                        _check(loss, norm, settings, f"in epoch {epoch + 1}, step {step + 1}")
                        optimizer.step()
                        optimizer.zero_grad()
                        losses.append(loss.item())
                    best = f"best {judged_by.replace('dsc', 'DSC')} {max(done.best, 0):.3f}"
                    note = f"epoch {epoch + 1}/{settings.epochs}, loss {losses[-1]:.3f}, {best}"
                    progress(stage, epoch * steps + step + 1, settings.epochs * steps, note)

            row = {"epoch": epoch + 1, "learning_rate": rate, "loss": sum(losses) / len(losses)}
            if (epoch + 1) % settings.validate_every == 0 or epoch + 1 == settings.epochs:
                model.eval()
                row |= _validated(validate, accelerator.unwrap_model(model), settings)
            row |= {"seconds": time.perf_counter() - started, "peak_memory_mb": peak_memory_mb()}
            accelerator.log(row, step=epoch + 1)
            done.epoch = epoch + 1
            done.history.append(row)
            done.scaler = accelerator.scaler.state_dict() if accelerator.scaler else {}
            if accelerator.is_main_process:
                _keep(
                    accelerator.unwrap_model(model), optimizer, done, folder, keep_best, judged_by
                )
        if accelerator.is_main_process:
            # Write the table again: if an earlier process was killed after the last state was
            # saved but before the table was written, no epoch is left to write it.
            _write_csv(folder / "metrics.csv", done.history)
    return done.history


def peak_memory_mb() -> float:
    """Peak memory of this process so far in MiB: GPU memory if there is a GPU, else main memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


@contextmanager
def _accelerated(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    folder: Path,
    done: Progressed,
) -> Iterator[tuple[Accelerator, Any, Any]]:
    """Prepare model and optimizer with Accelerate, and undo its changes to the model afterwards.

    On exit, all processes wait until the main process has written its files.
    """
    # Accelerate replaces the model's own forward method by one in mixed precision, permanently.
    # Later attacks on the model would then compute gradients in reduced precision.
    own = {name: vars(model)[name] for name in _PATCHED if name in vars(model)}
    accelerator = _accelerator(model, settings, folder, done)
    try:
        yield accelerator, *accelerator.prepare(model, optimizer)
        accelerator.wait_for_everyone()
    finally:
        for name in _PATCHED:
            vars(model).pop(name, None)
        vars(model).update(own)
        # Not end_training(), which destroys the process group: another training may follow.
        for tracker in accelerator.trackers:
            tracker.finish()


def _accelerator(
    model: nn.Module, settings: TrainingSettings, folder: Path, done: Progressed
) -> Accelerator:
    # Accelerate keeps global state; an earlier training may have used other settings.
    AcceleratorState._reset_state(reset_partial_state=not is_initialized())
    accelerator = Accelerator(
        cpu=next(model.parameters()).device.type == "cpu",
        mixed_precision="no" if settings.precision == "fp32" else settings.precision,
        log_with=list(settings.trackers) or None,
        project_dir=str(folder),
        # Some parameters may take no part in a step; otherwise DDP would wait for their gradients.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if settings.precision == "fp16" and accelerator.scaler is None:
        raise ValueError(
            f"Expected a GPU for precision fp16, got {accelerator.device}, where training would "
            "silently be in fp32. Use bf16 or fp32."
        )
    flat = {k: v if isinstance(v, int | float | str) else str(v) for k, v in vars(settings).items()}
    accelerator.init_trackers("palpate", flat)
    if accelerator.scaler is not None and done.scaler:
        accelerator.scaler.load_state_dict(done.scaler)
    return accelerator


def _share(
    accelerator: Accelerator, data: Epochs, epoch: int, settings: TrainingSettings
) -> Batches:
    """This process's batches of an epoch, on its device."""
    return shuffled(
        data,
        epoch,
        settings.batch_size,
        settings.seed,
        workers=settings.workers,
        device=accelerator.device,
        processes=accelerator.num_processes,
        process=accelerator.process_index,
    )


def _groups(model: nn.Module, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Parameter groups of the optimizer, each with its learning-rate factor ``share``."""
    learning = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    prefix = getattr(model, "tower", _TOWER)
    if not prefix and settings.tower_rate != 1:
        raise ValueError(
            f"Expected tower_rate 1 for a model that does not name its image tower, got "
            f"{settings.tower_rate}."
        )
    fresh = adapter_state(model).keys()  # adapters start untrained, so they use the full rate
    slow = {name for name, _ in learning if prefix and prefix in name and name not in fresh}
    tower, rest = (
        [p for name, p in learning if (name in slow) == wanted] for wanted in (True, False)
    )
    groups = [{"params": rest, "share": 1.0}, {"params": tower, "share": settings.tower_rate}]
    if settings.tower_rate == 1:
        groups = [{"params": [p for _, p in learning], "share": 1.0}]
    return [group for group in groups if group["params"]]


def _check(loss: Tensor, norm: Tensor | None, settings: TrainingSettings, where: str) -> None:
    if not bool(loss.isfinite()):
        raise FloatingPointError(
            f"The training loss is {loss.item()} {where}. Lower the learning rate, or use fp32."
        )
    if norm is None:
        return
    # In fp16, overflows are normal while the loss scale is adjusted; Accelerate skips these steps.
    if settings.precision != "fp16" and not bool(norm.isfinite()):
        raise FloatingPointError(
            f"The gradient's norm is {norm.item()} {where}. Lower the learning rate, or use fp32."
        )
    if norm.item() == 0:
        raise FloatingPointError(
            f"The gradient is zero {where}: the output does not depend on what is trained."
        )


def _validated(
    validate: Callable[[nn.Module], dict[str, float]], model: nn.Module, settings: TrainingSettings
) -> dict[str, float]:
    scores = validate(model)
    if settings.schedule == "plateau" and VALIDATION_LOSS not in scores:
        raise ValueError(
            "Expected a validation loss for schedule plateau, which this training does not "
            "compute. Choose schedule step or epoch."
        )
    return scores


def _keep(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    done: Progressed,
    folder: Path,
    keep_best: Callable[[dict[str, Any]], None],
    judged_by: str,
) -> None:
    row = done.history[-1]
    if row.get(judged_by, -1.0) > done.best:
        done.best = row[judged_by]
        keep_best(row)
    # Save the state after the best checkpoint: if the process is killed in between, the epoch is
    # repeated with the same result. In the other order, the best checkpoint could be lost.
    save_state(folder, model, optimizer, done)
    _write_csv(folder / "metrics.csv", done.history)


def _write_csv(path: Path, history: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())
