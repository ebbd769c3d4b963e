"""The sections of ``docs/results.md`` on what every attack does, from finished run folders.

python docs/scripts/make_attack_results.py runs/strength runs/universal runs/universal-elsewhere
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from results_page import DOCS, machine_of, markdown, put_section, subordinate

from palpate.evaluation import read_rows
from palpate.evaluation.statistics import Interval, bootstrap_interval, paired_difference
from palpate.pipeline.fitting import SHUFFLED
from palpate.reporting.labels import attack_label, epsilon_label

ORDER = ("noise", "fgsm", "pgd", "segpgd", "cospgd", "apgd", "sea")
PLAIN = ORDER[2:-1]
TEXTS = ("texts", "sensitivity", "text-examples")
MEDIS = (
    "medis-fused-targeted", "medis-losses-targeted", "medis-fused-untargeted",
    "medis-losses-untargeted",
)  # fmt: skip
FIGURES = {"dsc-over-epsilon": "attacks.png", "dsc-by-text": "texts.png"}


def main(strength: Path, universal: Path, elsewhere: Path) -> None:
    for figure, name in FIGURES.items():
        picture = (strength / "figures" / f"{figure}.png").read_bytes()
        (DOCS / "figures" / name).write_bytes(picture)
    put_section("attacks", (line for part in _strength(strength) for line in part))
    put_section("universal", (line for part in _universal(universal, elsewhere) for line in part))


def _strength(run: Path) -> Iterator[list[str]]:
    rows = read_rows(run / "rows")
    yield [
        "## Every attack on one model",
        "",
        f"`palpate run --config recipes/strength.yaml`. {machine_of(run / 'environment.json')}",
        "",
        _table(run, "main"),
        f"![DSC over epsilon under every attack](figures/{FIGURES['dsc-over-epsilon']})",
        "",
        "### Order",
        "",
        *markdown(pd.DataFrame(list(_order(rows)))),
        "",
        "Mean DSC in percent. *Holds*: noise is weaker than FGSM, FGSM not stronger than PGD, and "
        "no single attack stronger than the ensemble. The last columns are paired differences in "
        "points with 95 % intervals.",
        "",
    ]
    yield ["### Prompts", "", *(_table(run, name) for name in TEXTS)]
    yield [f"![DSC by attack on the prompt](figures/{FIGURES['dsc-by-text']})", ""]
    yield ["### MedIS", "", *(_table(run, name) for name in MEDIS)]


def _order(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    for epsilon in sorted(rows.loc[rows["attack"] != "clean", "epsilon"].unique()):
        some = rows[rows["epsilon"] == epsilon].pivot(index="key", columns="attack", values="dsc")
        means = some.mean()
        holds = means["noise"] > means["fgsm"] >= means["pgd"] and means["sea"] <= min(
            means[name] for name in PLAIN
        )
        yield {
            "ε": epsilon_label(epsilon),
            **{attack_label(name): f"{100 * means[name]:.1f}" for name in (*ORDER, "square")},
            "holds": "yes" if holds else "NO",
            "SEA − PGD": _points(paired_difference(some["pgd"], some["sea"])),
            "Square − noise": _points(paired_difference(some["noise"], some["square"])),
        }


def _universal(run: Path, elsewhere: Path) -> Iterator[list[str]]:
    rows = read_rows(run / "rows")
    yield [
        "## Is there a universal perturbation?",
        "",
        "`palpate run --config recipes/universal.yaml`, then `recipes/universal-elsewhere.yaml`. "
        "The published study reports that it could not find one. Fitted on the training split, "
        "judged on the test split; every perturbation stands beside random noise of the same "
        "radius and beside its own pixels in other places.",
        "",
        *markdown(pd.DataFrame(list(_fitted(rows)))),
        "",
        "DSC in percent, paired differences in points with 95 % intervals.",
        "",
        *_answer(rows),
        "",
        "### Under other prompts, on other data, with other models",
        "",
        *markdown(pd.DataFrame(list(_carried(elsewhere)))),
        "",
    ]


def _fitted(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    names = [n for n in rows["attack"].unique() if n + SHUFFLED in set(rows["attack"])]
    for name in names:
        for epsilon in sorted(rows.loc[rows["attack"] == name, "epsilon"].unique()):
            yield {"Perturbation": name, "ε": epsilon_label(epsilon)} | _line(rows, name, epsilon)


def _carried(folder: Path) -> Iterator[dict[str, str]]:
    for run in sorted(path.parent for path in folder.glob("*/config.yaml")):
        rows = read_rows(run / "rows")
        for epsilon in sorted(rows.loc[rows["attack"] == "universal", "epsilon"].unique()):
            yield {"Run": run.name, "ε": epsilon_label(epsilon)} | _line(rows, "universal", epsilon)


def _line(rows: pd.DataFrame, name: str, epsilon: float) -> dict[str, str]:
    some = rows[rows["epsilon"] == epsilon].pivot(index="key", columns="attack", values="dsc")
    clean = rows[rows["attack"] == "clean"].set_index("key")["dsc"]
    return {
        "n": str(len(clean)),
        "Clean": _percent(bootstrap_interval(clean)),
        "Noise": _percent(bootstrap_interval(some["noise"])),
        "Universal": _percent(bootstrap_interval(some[name])),
        "− noise": _points(paired_difference(some["noise"], some[name])),
        "− shuffled": _points(paired_difference(some[name + SHUFFLED], some[name])),
    }


def _answer(rows: pd.DataFrame) -> Iterator[str]:
    """The strongest perturbation in one sentence, with what it does beyond both controls."""
    fitted = [n for n in rows["attack"].unique() if n + SHUFFLED in set(rows["attack"])]
    largest = rows["epsilon"].max()
    some = rows[rows["epsilon"] == largest].pivot(index="key", columns="attack", values="dsc")
    best = min(fitted, key=lambda name: some[name].mean())
    beyond = [
        paired_difference(some[control], some[best]) for control in ("noise", best + SHUFFLED)
    ]
    found = all(interval.high < 0 for interval in beyond)
    clean = rows.loc[rows["attack"] == "clean", "dsc"].mean()
    yield (
        f"**{'Yes' if found else 'No'}, on this model and these data.** At "
        f"{epsilon_label(largest)} the strongest one (*{best}*) leaves a mean DSC of "
        f"{100 * some[best].mean():.1f} of {100 * clean:.1f}: {_points(beyond[0])} points against "
        f"noise and {_points(beyond[1])} against its own pixels in other places."
    )


def _table(run: Path, name: str) -> str:
    path = run / "tables" / f"{name}.md"
    return subordinate(path.read_text(encoding="utf-8")) if path.is_file() else ""


def _percent(interval: Interval) -> str:
    return f"{100 * interval.mean:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _points(interval: Interval) -> str:
    return (
        f"{100 * interval.mean:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    ).replace("-", "−")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*(Path(argument) for argument in sys.argv[1:]))
