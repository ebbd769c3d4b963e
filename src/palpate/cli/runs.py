"""Commands on existing runs: ``palpate evaluate``, ``report`` and ``compare``."""

from pathlib import Path

import tyro

from palpate.cli.commands import UsageError
from palpate.cli.progress_bars import show_progress


def evaluate(
    run: Path,
    attacks: tuple[str, ...] | None = None,
    epsilon_255: tuple[float, ...] | None = None,
) -> None:
    """Attack the model of a run again, and add the rows to its results.

    Args:
        run: Run folder, as made by `palpate run` or `palpate train`.
        attacks: Names of the attacks; by default those of the recipe.
        epsilon_255: Radii of the perturbation, in steps of an 8-bit image (8 means 8/255); by
            default those of the recipe.
    """
    from palpate.pipeline.run import evaluate_again

    with show_progress() as progress:
        rows = evaluate_again(run, attacks, epsilon_255, progress)
    print(rows)


def report(
    folder: tyro.conf.Positional[Path | None] = None,
    run: Path | None = None,
    pdf: bool = False,
) -> None:
    """Write the tables, figures and page of a run again, from its rows.

    Args:
        folder: Run folder that has rows.
        run: The same, as an option.
        pdf: Also write report/report.pdf, a sheet of two pages for auditors with the page as annex,
            and print its path. Needs WeasyPrint.
    """
    from palpate.pipeline.run import make_pdf, make_report

    wanted = folder or run
    if wanted is None or (folder and run):
        raise UsageError(
            "Expected one run folder: palpate report RUN. See `palpate report --help`."
        )
    print(make_pdf(wanted) if pdf else make_report(wanted))


def compare(runs: tyro.conf.Positional[tuple[Path, ...]], out: Path = Path("comparison")) -> None:
    """Compare finished runs: the first is the reference for the paired differences.

    Args:
        runs: Two or more run folders that have rows.
        out: Folder for the tables, figures and page.
    """
    from palpate.pipeline.compare import compare_runs

    print(compare_runs(runs, out))
