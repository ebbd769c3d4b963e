"""Compares finished runs in one report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from palpate.evaluation import read_examples, read_rows
from palpate.evaluation.sanity import Check, load_card, sanity_card
from palpate.pipeline.recipe.reading import plain
from palpate.pipeline.run.run import config_of
from palpate.pipeline.run_folder.folder import read_environment
from palpate.reporting.compare import compare
from palpate.reporting.session import command_here


def compare_runs(runs: Sequence[Path], out: Path) -> Path:
    """Compare runs with the first of them, image by image; needs neither models nor data.

    Args:
        runs: Run folders.
        out: Folder for the report.

    Returns:
        Path of the page.

    Raises:
        ValueError: If there are fewer than two runs, or they cannot be compared.
        FileNotFoundError: If a folder is not a run folder.
    """
    folders = dict(zip(_names(runs), runs, strict=True))
    configs = [config_of(run) for run in runs]
    return compare(
        {name: read_rows(run / "rows") for name, run in folders.items()},
        out,
        examples={name: read_examples(run / "examples") for name, run in folders.items()},
        sanity=cards(folders),
        config={name: plain(config) for name, config in zip(folders, configs, strict=True)},
        environment=read_environment(runs[0]) if runs else None,
        command=command_here(["palpate", "compare", *map(str, runs), "--out", str(out)]),
        title=" and ".join(folders),
    )


def cards(runs: Mapping[str, Path]) -> list[Check]:
    """Merge the sanity cards of several runs; each check states the names of its runs.

    A check with the same result in all runs is listed once, without names. For a run without a
    card, the checks that need only rows are run.

    Args:
        runs: Run folders by their names in the report.
    """
    whose: dict[Check, list[str]] = {}
    for name, run in runs.items():
        for check in _card(run):
            whose.setdefault(check, []).append(name)
    return [
        check
        if len(names) == len(runs)  # the same in all runs
        else replace(check, measured=f"{', '.join(names)}: {check.measured}")
        for check, names in whose.items()
    ]


def _card(run: Path) -> list[Check]:
    path = run / "sanity.json"
    return load_card(path) if path.is_file() else sanity_card(read_rows(run / "rows"))


def _names(runs: Sequence[Path]) -> list[str]:
    """Name each run by the last part of its path, or by as many parts as make the names unique.

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
