"""Transfer of adversarial examples between the models of finished runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from palpate.attacks import transfer
from palpate.evaluation import transfer_matrix
from palpate.models import PixelModel, load_model
from palpate.pipeline.recipe.config import RunConfig
from palpate.pipeline.run.run import config_of
from palpate.pipeline.stages import preparation as stages
from palpate.progress import Progress, silent
from palpate.reporting.tables.table import Table
from palpate.reporting.tables.transfer_table import transfer_table
from palpate.reporting.tables.write import write


@dataclass(frozen=True)
class TransferOptions:
    """Options of :func:`palpate.attacks.transfer`."""

    steps: int = 10
    """Number of steps."""
    momentum: float = 1.0
    """Momentum of the gradient (MI); 0 for none."""
    diversity: float = 0.5
    """Probability that a step shows the surrogate a smaller image (DI); 0 for none."""
    kernel: int = 5
    """Side of the Gaussian kernel that smooths the gradient (TI), in pixels; 1 for none."""
    scales: int = 1
    """Number of image brightnesses over which the gradient is averaged (SI); 1 for none."""


def transfer_runs(
    runs: Sequence[Path],
    out: Path,
    options: TransferOptions,
    epsilons: Sequence[float],
    *,
    limit: int | None = None,
    progress: Progress = silent,
) -> Table:
    """Score the model of every run on adversarial examples made on the model of every run.

    Args:
        runs: Run folders; the models are named after the folders. The data are those of the first
            run.
        out: Folder for the rows and ``tables/transfer``; existing rows are not computed again.
        options: Options of the attack.
        epsilons: Radii, in units of pixel value.
        limit: Use only this many samples.
        progress: Called for every batch.

    Returns:
        The table of the report.

    Raises:
        ValueError: If there are fewer than two runs, two have the same name, or one has no trained
            model yet.
        FileNotFoundError: If a folder is not a run folder.
    """
    names = [run.resolve().name for run in runs]
    if len(runs) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"Expected two or more run folders of different names, got {', '.join(names) or '-'}."
        )
    configs = [config_of(run) for run in runs]
    data = stages.load_attacked(configs[0])
    models = {
        name: model_of(config, run, progress)
        for name, config, run in zip(names, configs, runs, strict=True)
    }
    numbers = transfer_matrix(
        models,
        data,
        partial(transfer, **asdict(options)),
        epsilons=epsilons,
        out=out / "rows",
        seed=configs[0].seed,
        batch_size=configs[0].evaluate.batch_size,
        limit=limit,
        progress=progress,
    )
    table = transfer_table(numbers, _described(options))
    write([table], out / "tables")
    return table


def model_of(config: RunConfig, run: Path, progress: Progress) -> PixelModel:
    """Load the model that a finished run attacked.

    Raises:
        ValueError: If the run trains a model and has not finished training.
    """
    base, wanted = stages.base_model(config, progress), config.model
    if not wanted.trains:
        return stages.untrained(config, base)
    checkpoint = wanted.checkpoint or run / "checkpoint"
    if not (checkpoint / "palpate.json").is_file():
        raise ValueError(
            f"{run} has no trained model yet. Finish it first: palpate run --config "
            f"{run / 'config.yaml'}"
        )
    return load_model(checkpoint, base=stages.base_of(base), device=stages.device(config))


def _described(options: TransferOptions) -> str:
    """Name of the attack as in the literature.

    >>> _described(TransferOptions(diversity=0.0, kernel=1))
    'MI-FGSM of 10 steps'
    """
    means = (
        ("SI", options.scales > 1), ("TI", options.kernel > 1),
        ("DI", options.diversity > 0), ("MI", options.momentum > 0),
    )  # fmt: skip
    used = [name for name, is_used in means if is_used]
    return f"{'-'.join([*used, 'FGSM'])} of {options.steps} steps"
