"""Models of finished runs against each other: does what breaks one break the next?"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from palpate.attacks import transfer
from palpate.evaluation import transfer_matrix
from palpate.models import PixelModel, load_model
from palpate.pipeline import stages
from palpate.pipeline.config import RunConfig, TransferOptions
from palpate.pipeline.run import config_of
from palpate.progress import Progress, silent
from palpate.reporting.tables.table import Table
from palpate.reporting.tables.transfer_table import transfer_table
from palpate.reporting.tables.write import write


def transfer_runs(
    runs: Sequence[Path],
    out: Path,
    options: TransferOptions,
    epsilons: Sequence[float],
    *,
    limit: int | None = None,
    progress: Progress = silent,
) -> Table:
    """Attack every run's model by way of every run's model, on the data of the first.

    Args:
        runs: Run folders, whose names become those of the models.
        out: Gets rows and ``tables/transfer``; picks up what is there.
        options: Of the attack.
        epsilons: Radii, in units of pixel value.
        limit: Only the first so many samples.
        progress: Told about every batch.

    Raises:
        ValueError: If there are fewer than two runs, two of the same name, or a run that has no
            trained model yet.
        FileNotFoundError: If a folder is no run.
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
    """The model that a finished run pressed: what it trained, or what it took as it is.

    Raises:
        ValueError: If the run was to train and has not.
    """
    base, wanted = stages.base_model(config, progress), config.model
    if not wanted.trains:
        return load_model(
            base, options=wanted.options, seed=config.seed, device=stages.device(config)
        )
    checkpoint = wanted.checkpoint or run / "checkpoint"
    if not (checkpoint / "palpate.json").is_file():
        raise ValueError(
            f"{run} has no trained model yet. Finish it first: palpate run --config "
            f"{run / 'config.yaml'}"
        )
    return load_model(checkpoint, base=base, device=stages.device(config))


def _described(options: TransferOptions) -> str:
    """The attack in the field's terms.

    >>> _described(TransferOptions(diversity=0.0, kernel=1))
    'MI-FGSM of 10 steps'
    """
    means = (
        ("SI", options.scales > 1), ("TI", options.kernel > 1),
        ("DI", options.diversity > 0), ("MI", options.momentum > 0),
    )  # fmt: skip
    used = [name for name, is_used in means if is_used]
    return f"{'-'.join([*used, 'FGSM'])} of {options.steps} steps"
