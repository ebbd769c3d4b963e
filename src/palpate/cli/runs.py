"""Commands on runs that exist: attack again, report, compare, transfer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from palpate.pipeline import watching
from palpate.pipeline.config import TransferOptions


@dataclass(frozen=True)
class Evaluate:
    """Attack the model of a run and add the rows to it."""

    run: Path
    """Run folder, as made by `palpate run` or `palpate train`."""
    attacks: tuple[str, ...] | None = None
    """Attacks to run; by default those of the recipe."""
    epsilon_255: tuple[float, ...] | None = None
    """Radii of the ball, in steps of an 8-bit image (1 = 1/255); by default those of the recipe."""

    def __call__(self) -> None:
        from palpate.pipeline.run import evaluate_again

        with watching() as progress:
            rows = evaluate_again(self.run, self.attacks, self.epsilon_255, progress)
        print(rows)


@dataclass(frozen=True)
class Report:
    """Write the tables, figures and page of a run anew."""

    run: Path
    """Run folder that has rows."""

    def __call__(self) -> None:
        from palpate.pipeline.run import make_report

        print(make_report(self.run))


@dataclass(frozen=True)
class Compare:
    """Put finished runs side by side, with paired differences from the first."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders that have rows."""
    out: Path = Path("comparison")
    """Folder of the tables, figures and page."""

    def __call__(self) -> None:
        from palpate.pipeline.compare import compare_runs

        print(compare_runs(self.runs, self.out))


@dataclass(frozen=True)
class Transfer:
    """Attack the model of every run by way of the model of every other."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders; their models are pressed on the data of the first."""
    out: Path = Path("transfer")
    """Folder of the rows and the table."""
    options: Annotated[TransferOptions, tyro.conf.arg(name="")] = field(
        default_factory=TransferOptions
    )
    """How the surrogate is attacked."""
    epsilon_255: tuple[float, ...] = (2.0, 8.0)
    """Radii of the ball, in steps of an 8-bit image (1 = 1/255)."""
    limit: int | None = None
    """Only the first so many samples."""

    def __call__(self) -> None:
        from palpate.cli.tables.scores import show_table
        from palpate.pipeline.transfer import transfer_runs

        radii = [epsilon / 255 for epsilon in self.epsilon_255]
        with watching() as progress:
            table = transfer_runs(
                self.runs, self.out, self.options, radii, limit=self.limit, progress=progress
            )
        show_table(table)
        print(self.out / "tables" / "transfer.md")
