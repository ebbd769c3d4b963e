"""The section of ``docs/results.md`` on the published procedure, from finished sweeps.

python docs/scripts/make_protocol_results.py runs/paper-table1 runs/artefacts runs/artefacts-camus
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
from results_page import machine_of, markdown, put_section, subordinate

from palpate.evaluation import read_rows
from palpate.evaluation.statistics import paired_difference
from palpate.reporting.labels import epsilon_label

SAMPLE = ["dataset", "structure", "key", "prompt_level", "epsilon", "group"]
FIRST, LAST = "as-it-is", "all of these"
INTERVALS = (
    "In brackets, 95 % bootstrap intervals over patients where known, otherwise over images."
)


def main(table_1: Path, artefacts: list[Path]) -> None:
    put_section("published", (line for part in _section(table_1, artefacts) for line in part))


def _section(table_1: Path, artefacts: list[Path]) -> Iterator[list[str]]:
    yield [
        "## The published procedure, and what each of its choices is worth",
        "",
        "`palpate run --config recipes/paper-table1.yaml` and, once for each data set, "
        f"`recipes/artefacts.yaml`. {machine_of(next(table_1.glob('*/environment.json')))}",
        "",
        _table(table_1, "published"),
        "",
    ]
    runs = {folder.name: _rows(folder) for folder in artefacts}
    yield [
        "### Is PGD weaker than FGSM?",
        "",
        *markdown(pd.DataFrame(list(_pgd_beside_fgsm(runs)))),
        "",
        "DSC under PGD minus DSC under FGSM, in points, image by image: above zero PGD is the "
        f"weaker one. {INTERVALS}",
        "",
        "### Which images give way more?",
        "",
        *markdown(pd.DataFrame(list(_losses(runs)))),
        "",
        f"What PGD takes of the clean DSC, in points. {INTERVALS}",
        "",
    ]
    for folder in artefacts:
        yield [_table(folder, "artefacts"), ""]


def _rows(folder: Path) -> dict[str, pd.DataFrame]:
    """The rows of a sweep by choice, the procedure itself first."""
    labels = sorted(path.parent.name for path in folder.glob("*/config.yaml"))
    if FIRST not in labels:
        sys.exit(f"Expected finished runs in folders below {folder}, {FIRST} among them: {labels}.")
    order = sorted(labels, key=lambda label: (label != FIRST, label == LAST))
    return {label: read_rows(folder / label / "rows") for label in order}


def _pgd_beside_fgsm(runs: Mapping[str, Mapping[str, pd.DataFrame]]) -> Iterator[dict[str, str]]:
    for name, choices in runs.items():
        for choice, rows in choices.items():
            pgd, fgsm = (
                rows.loc[rows["attack"] == attack, [*SAMPLE, "dsc"]] for attack in ("pgd", "fgsm")
            )
            both = fgsm.merge(pgd, on=SAMPLE, validate="one_to_one", suffixes=("_fgsm", "_pgd"))
            yield {"Runs": name, "Choice": choice} | _by_radius(both, "dsc_fgsm", "dsc_pgd")


def _losses(runs: Mapping[str, Mapping[str, pd.DataFrame]]) -> Iterator[dict[str, str]]:
    for name, choices in runs.items():
        for choice, rows in choices.items():
            pgd = rows[rows["attack"] == "pgd"]
            yield {"Runs": name, "Choice": choice} | _by_radius(pgd, "dsc_clean", "dsc")


def _by_radius(rows: pd.DataFrame, before: str, after: str) -> dict[str, str]:
    cells = {}
    for epsilon, some in rows.groupby("epsilon"):
        lost = paired_difference(some[before], some[after], some["group"])
        mean, low, high = (
            f"{round(100 * v, 1) or 0.0:.1f}" for v in (lost.mean, lost.low, lost.high)
        )
        label = epsilon_label(float(str(epsilon)), "normalised")
        cells[label] = f"{mean} [{low}, {high}]".replace("-", "\N{MINUS SIGN}")
    return cells


def _table(folder: Path, name: str) -> str:
    return subordinate((folder / "tables" / f"{name}.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
