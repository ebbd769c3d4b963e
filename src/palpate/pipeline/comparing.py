"""Finished runs side by side, in one report."""

from collections.abc import Sequence
from pathlib import Path

from palpate.evaluation import read_examples, read_rows
from palpate.evaluation.sanity import Check, load_card
from palpate.pipeline.config import plain
from palpate.pipeline.run import config_of, read_environment
from palpate.reporting.compare import compare


def compare_runs(runs: Sequence[Path], out: Path) -> Path:
    """Compare runs with the first of them; needs neither models nor data.

    Args:
        runs: Run folders.
        out: Gets the report.

    Returns:
        The page.

    Raises:
        ValueError: If there are fewer than two runs, or they cannot be compared.
        FileNotFoundError: If a folder is no run.
    """
    folders = dict(zip(_names(runs), runs, strict=True))
    configs = [config_of(run) for run in runs]
    return compare(
        {name: read_rows(run / "rows") for name, run in folders.items()},
        out,
        examples={name: read_examples(run / "examples") for name, run in folders.items()},
        sanity=cards(runs),
        config={name: plain(config) for name, config in zip(folders, configs, strict=True)},
        environment=read_environment(runs[0]) if runs else None,
        title=" and ".join(folders),
    )


def cards(runs: Sequence[Path]) -> list[Check]:
    """The sanity cards of runs that have one, one after the other."""
    paths = [run / "sanity.json" for run in runs]
    return [check for path in paths if path.is_file() for check in load_card(path)]


def _names(runs: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many as it takes to tell them apart.

    >>> _names([Path("a/kvasir"), Path("b/kvasir")]), _names([Path("runs/a"), Path("runs/b")])
    (['a/kvasir', 'b/kvasir'], ['a', 'b'])
    """
    parts = [run.parts for run in runs]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(
        f"Expected different runs, got {', '.join(map(str, runs)) or 'none'}. Name each once."
    )
