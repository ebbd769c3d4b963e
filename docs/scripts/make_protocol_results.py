"""Write the section of ``docs/results.md`` on the published protocol, from finished sweeps.

python docs/scripts/make_protocol_results.py runs/paper-table1 runs/artefacts*
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import yaml
from results_page import command, machine_of, markdown, put_section, subordinate

from palpate.evaluation import read_rows
from palpate.evaluation.statistics.intervals import Interval, paired_difference
from palpate.models.checkpoints import read_card
from palpate.reporting.labels import epsilon_label

SAMPLE = ["dataset", "structure", "key", "prompt_level", "epsilon", "group"]
FIRST, LAST = "as-it-is", "all of these"
WORDS = {
    "weaker": "PGD is weaker than FGSM",
    "stronger": "PGD is stronger than FGSM",
    "no significant difference": "PGD and FGSM do not differ significantly",
}
INTERVALS = "In brackets, 95 % intervals over patients where known, otherwise over images."


def main(table_1: Path, artefacts: list[Path]) -> None:
    put_section("published", (line for part in _section(table_1, artefacts) for line in part))


def _section(table_1: Path, artefacts: list[Path]) -> Iterator[list[str]]:
    commands = [_command("paper-table1", table_1), *(_command("artefacts", f) for f in artefacts)]
    yield [
        "## The published protocol, and the effect of each of its choices",
        "",
        f"{'; '.join(commands)}. {machine_of(next(table_1.glob('*/environment.json')))}",
        "",
        _table(table_1, "published"),
        "",
    ]
    runs = {folder.name: _rows(folder) for folder in artefacts}
    yield [
        "### Is PGD weaker than FGSM?",
        "",
        *markdown(pd.DataFrame(list(map(_about, artefacts)))),
        "",
        *(line for name, choices in runs.items() for line in _answers(name, choices)),
        "",
        *markdown(pd.DataFrame(list(_pgd_beside_fgsm(runs)))),
        "",
        "DSC under PGD minus DSC under FGSM, paired by image, in points (positive: PGD is weaker). "
        f"{INTERVALS}",
        "",
        "### Drop in DSC under PGD",
        "",
        *markdown(pd.DataFrame(list(_losses(runs)))),
        "",
        f"DSC under PGD minus clean DSC, paired by image, in points. {INTERVALS}",
        "",
    ]
    for folder in artefacts:
        yield [_table(folder, "artefacts"), ""]


def _about(folder: Path) -> dict[str, str]:
    """The model and the data of a sweep."""
    path = next(folder.glob("*/config.yaml"))
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    card = read_card(Path(config["model"]["name"]))
    base = Path(card.base).name if Path(card.base).is_absolute() else card.base
    rows = read_rows(path.parent / "rows")
    return {
        "Runs": folder.name,
        "Data": config["data"]["name"],
        "Samples": str(len(rows[["key", "structure"]].drop_duplicates())),
        "Model": f"{re.sub('-[0-9a-f]{10}$', '', base)} with {card.adapter} adapters",
    }


def _command(recipe: str, folder: Path) -> str:
    """The command that repeats the runs of a folder: the recipe and the options beside it."""
    path = next(folder.glob("*/config.yaml"))
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    data = config["data"]
    words = [command(recipe, path.parent)]
    if folder.name != recipe:
        words.append(f"--data.name {data['name']} --data.prompt {data['prompt']}")
        words.append(f"--model.name {config['model']['name']} --out runs/{folder.name}")
    return f"`{' '.join(words)}`"


def _rows(folder: Path) -> dict[str, pd.DataFrame]:
    """The rows of a sweep by choice, the published protocol itself first."""
    labels = sorted(path.parent.name for path in folder.glob("*/config.yaml"))
    if FIRST not in labels:
        sys.exit(f"Expected finished runs in folders below {folder}, {FIRST} among them: {labels}.")
    order = sorted(labels, key=lambda label: (label != FIRST, label == LAST))
    return {label: read_rows(folder / label / "rows") for label in order}


def _answers(name: str, choices: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Which attack is weaker under the protocol, and which of its choices change that."""
    found = {choice: _pgd_minus_fgsm(rows) for choice, rows in choices.items()}
    for radius, published in found[FIRST].items():
        verdicts = {choice: _verdict(of[radius]) for choice, of in found.items()}
        alone = {c: v for c, v in verdicts.items() if c not in (FIRST, LAST)}
        other = [f"`{c}` ({v})" for c, v in alone.items() if v != _verdict(published)]
        yield (
            f"- {name}, \u03b5 {radius}: {WORDS[verdicts[FIRST]]} under the published protocol. "
            f"Of its {len(alone)} choices, corrected one at a time, "
            f"{', '.join(other) or 'none'} {'change' if len(other) > 1 else 'changes'} this "
            f"result. With all of them corrected, {WORDS[verdicts[LAST]]}."
        )


def _verdict(difference: Interval) -> str:
    if difference.low > 0:
        return "weaker"
    return "stronger" if difference.high < 0 else "no significant difference"


def _pgd_beside_fgsm(runs: Mapping[str, Mapping[str, pd.DataFrame]]) -> Iterator[dict[str, str]]:
    for name, choices in runs.items():
        for choice, rows in choices.items():
            yield {"Runs": name, "Choice": choice} | _cells(_pgd_minus_fgsm(rows))


def _pgd_minus_fgsm(rows: pd.DataFrame) -> dict[str, Interval]:
    pgd, fgsm = (rows.loc[rows["attack"] == a, [*SAMPLE, "dsc"]] for a in ("pgd", "fgsm"))
    both = fgsm.merge(pgd, on=SAMPLE, validate="one_to_one", suffixes=("_fgsm", "_pgd"))
    return _by_radius(both, "dsc_fgsm", "dsc_pgd")


def _losses(runs: Mapping[str, Mapping[str, pd.DataFrame]]) -> Iterator[dict[str, str]]:
    for name, choices in runs.items():
        for choice, rows in choices.items():
            pgd = rows[rows["attack"] == "pgd"]
            yield {"Runs": name, "Choice": choice} | _cells(_by_radius(pgd, "dsc_clean", "dsc"))


def _by_radius(rows: pd.DataFrame, before: str, after: str) -> dict[str, Interval]:
    return {
        epsilon_label(float(str(epsilon)), "normalised"): paired_difference(
            some[before], some[after], some["group"]
        )
        for epsilon, some in rows.groupby("epsilon")
    }


def _cells(differences: Mapping[str, Interval]) -> dict[str, str]:
    return {radius: _in_points(difference) for radius, difference in differences.items()}


def _in_points(difference: Interval) -> str:
    values = (difference.mean, difference.low, difference.high)
    mean, low, high = (f"{round(100 * value, 1) or 0.0:.1f}" for value in values)
    return f"{mean} [{low}, {high}]".replace("-", "\N{MINUS SIGN}")


def _table(folder: Path, name: str) -> str:
    return subordinate((folder / "tables" / f"{name}.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
