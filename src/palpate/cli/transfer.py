"""``palpate transfer``: adversarial examples made on one model, scored on the others."""

from pathlib import Path
from typing import Annotated

import tyro

from palpate.cli.json_output import check_target, give
from palpate.cli.progress_bars import show_progress
from palpate.cli.tables.scores import show_table
from palpate.pipeline.several.transfer import TransferOptions, transfer_runs

_OPTIONS = TransferOptions()


def transfer(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    out: Path = Path("transfer"),
    options: Annotated[TransferOptions, tyro.conf.arg(name="")] = _OPTIONS,
    epsilon_255: tuple[float, ...] = (2.0, 8.0),
    limit: int | None = None,
    json: Path | None = None,
) -> None:
    """Attack the model of each run with adversarial examples made on the model of every other.

    Args:
        runs: Two or more run folders; the data are those of the first.
        out: Folder for the rows and the table.
        options: How the adversarial examples are made.
        epsilon_255: Radii of the perturbation, in units of 1/255 (8 means 8/255).
        limit: Use only this many samples.
        json: Print the table as JSON, or write it to this file.
    """
    check_target(json)
    radii = [epsilon / 255 for epsilon in epsilon_255]
    with show_progress() as progress:
        table = transfer_runs(runs, out, options, radii, limit=limit, progress=progress)

    def show() -> None:
        show_table(table)
        print(out / "tables" / "transfer.md")

    give(lambda: table.numbers.to_dict("records"), show, json)
