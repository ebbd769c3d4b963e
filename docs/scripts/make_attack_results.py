"""Write the sections of ``docs/results.md`` on the attacks, from finished run folders.

python docs/scripts/make_attack_results.py runs/strength runs/universal runs/universal-elsewhere
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from results_page import DOCS, machine_of, markdown, put_section, subordinate

from palpate.attacks import UniversalPerturbation
from palpate.evaluation import read_rows
from palpate.evaluation.statistics.intervals import Interval, mean_interval, paired_difference
from palpate.pipeline.attacks.universal import SHUFFLED
from palpate.reporting.figures import drawing
from palpate.reporting.labels import attack_label, epsilon_label

ORDER = ("noise", "fgsm", "pgd", "segpgd", "cospgd", "apgd", "sea")
PLAIN = ORDER[2:-1]
SAMPLE = ["dataset", "structure", "key", "prompt_level"]
DIFFERENCES = (
    "Differences are paired, in points of DSC (negative: the first attack lowers the DSC more). In "
    "brackets, 95 % intervals over patients where known, otherwise over images."
)
TEXTS = ("texts", "sensitivity", "text-examples")
MEDIS = (
    "medis-fused-targeted", "medis-losses-targeted", "medis-fused-untargeted",
    "medis-losses-untargeted",
)  # fmt: skip
PERTURBATIONS = "universal.png"
FIGURES = {"dsc-by-attack": "attacks.png", "dsc-by-text": "texts.png"}


def main(strength: Path, universal: Path, elsewhere: Path) -> None:
    for figure, name in FIGURES.items():
        picture = (strength / "figures" / f"{figure}.png").read_bytes()
        (DOCS / "figures" / name).write_bytes(picture)
    _draw_perturbations(universal, DOCS / "figures" / PERTURBATIONS)
    put_section("attacks", (line for part in _strength(strength) for line in part))
    put_section("universal", (line for part in _universal(universal, elsewhere) for line in part))


def _strength(run: Path) -> Iterator[list[str]]:
    rows = read_rows(run / "rows")
    yield [
        "## All kinds of attacks on one model",
        "",
        f"`palpate run --config recipes/strength.yaml`. {machine_of(run / 'environment.json')}",
        "",
        _table(run, "main"),
        f"![DSC under every attack](figures/{FIGURES['dsc-by-attack']})",
        "",
        "### Order of the attacks",
        "",
        *markdown(pd.DataFrame(list(_order(rows)))),
        "",
        "Mean DSC in percent. Expected order of the means: FGSM below noise; PGD not above FGSM; "
        "the lowest of SegPGD, CosPGD and APGD not above PGD; SEA not above any of these; Square "
        f"below noise and not below PGD. {DIFFERENCES}",
        "",
    ]
    yield [_table(run, name) for name in TEXTS]
    yield [f"![DSC by attack on the prompt](figures/{FIGURES['dsc-by-text']})", ""]
    yield [_table(run, name) for name in MEDIS]


def _order(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    for epsilon in sorted(rows.loc[rows["attack"] != "clean", "epsilon"].unique()):
        some = rows[rows["epsilon"] == epsilon]
        means = some.groupby("attack")["dsc"].mean()
        broken = [text for text, holds in _expected(means) if not holds]
        yield {
            "ε": epsilon_label(epsilon),
            **{attack_label(name): f"{100 * means[name]:.1f}" for name in (*ORDER, "square")},
            "As expected": f"no: {', '.join(broken)}" if broken else "yes",
            "SEA − PGD": _points(_beyond(some, "sea", "pgd")),
            "Square − noise": _points(_beyond(some, "square", "noise")),
        }


def _expected(means: pd.Series) -> Iterator[tuple[str, bool]]:
    """The expected relations of mean DSCs at one radius, and whether each holds."""
    yield "FGSM < noise", means["fgsm"] < means["noise"]
    yield "PGD ≤ FGSM", means["pgd"] <= means["fgsm"]
    yield "best of three ≤ PGD", means[list(PLAIN[1:])].min() <= means["pgd"]
    yield "SEA ≤ all", means["sea"] <= means[list(PLAIN)].min()
    yield "PGD ≤ Square < noise", means["pgd"] <= means["square"] < means["noise"]


def _universal(run: Path, elsewhere: Path) -> Iterator[list[str]]:
    rows = read_rows(run / "rows")
    yield [
        "## Is there a universal perturbation?",
        "",
        "`palpate run --config recipes/universal.yaml`, then `recipes/universal-elsewhere.yaml`. "
        "The published study of CLIPSeg with adapters reports that it found none. The "
        "perturbations are fitted on the training split and evaluated on the test split, with two "
        "controls: random noise of the same radius, and the same perturbation with its pixels "
        "shuffled.",
        "",
        *_answer(rows),
        "",
        *markdown(pd.DataFrame(list(_fitted(rows)))),
        "",
        f"Mean DSC in percent. {DIFFERENCES} {_fits(run)}",
        "",
        f"![The perturbations, scaled to the range of an image](figures/{PERTURBATIONS})",
        "",
        "The perturbations on mid-grey, scaled so that their radius spans black to white.",
        "",
        "### Transfer to other prompts, data and models",
        "",
        *markdown(pd.DataFrame(list(_carried(elsewhere)))),
        "",
    ]


def _draw_perturbations(run: Path, path: Path) -> None:
    files = [
        f for f in sorted((run / "universal").glob("*.safetensors")) if ".state." not in f.name
    ]
    with drawing.house_style():
        figure = drawing.new_figure(drawing.PAGE, 0.2 + drawing.PAGE / len(files))
        for axis, file in zip(figure.subplots(1, len(files)), files, strict=True):
            fitted = UniversalPerturbation.load(file)
            shown = 0.5 + fitted.delta / (2 * fitted.epsilon)
            axis.imshow(shown.clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set_title(file.stem)
            axis.set_axis_off()
        figure.savefig(path, dpi=200)


def _fits(run: Path) -> str:
    """The images that the perturbations were fitted to, and the number of passes."""
    files = sorted((run / "universal").glob("*.safetensors"))
    made = [UniversalPerturbation.load(f).made_of for f in files if ".state." not in f.name]
    told = {(each["of.samples"], each["epochs"]) for each in made}
    lines = (f"{samples} images, {n} forward and backward passes for each" for samples, n in told)
    return f"Fitted to {'; '.join(sorted(lines))}."


def _fitted(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    names = [n for n in rows["attack"].unique() if n + SHUFFLED in set(rows["attack"])]
    for name in names:
        for epsilon in sorted(rows.loc[rows["attack"] == name, "epsilon"].unique()):
            yield {"Perturbation": name, "ε": epsilon_label(epsilon)} | _line(rows, name, epsilon)


def _carried(folder: Path) -> Iterator[dict[str, str]]:
    runs = sorted(path.parent for path in folder.glob("*/config.yaml"))
    if not runs:
        sys.exit(f"Expected finished runs in folders below {folder}, found none.")
    for run in runs:
        rows = read_rows(run / "rows")
        for epsilon in sorted(rows.loc[rows["attack"] == "universal", "epsilon"].unique()):
            yield {"Run": run.name, "ε": epsilon_label(epsilon)} | _line(rows, "universal", epsilon)


def _line(rows: pd.DataFrame, name: str, epsilon: float) -> dict[str, str]:
    some, clean = rows[rows["epsilon"] == epsilon], rows[rows["attack"] == "clean"]
    return {
        "n": str(len(clean)),
        "Clean": _percent(clean),
        "Noise": _percent(some[some["attack"] == "noise"]),
        "Universal": _percent(some[some["attack"] == name]),
        "Universal − noise": _points(_beyond(some, name, "noise")),
        "Universal − shuffled": _points(_beyond(some, name, name + SHUFFLED)),
    }


def _answer(rows: pd.DataFrame) -> Iterator[str]:
    """The strongest perturbation in two sentences, with its differences to both controls."""
    fitted = [n for n in rows["attack"].unique() if n + SHUFFLED in set(rows["attack"])]
    largest = rows["epsilon"].max()
    some = rows[rows["epsilon"] == largest]
    means = some.groupby("attack")["dsc"].mean()
    best = min(fitted, key=lambda name: means[name])
    beyond = [_beyond(some, best, control) for control in ("noise", best + SHUFFLED)]
    found = all(interval.high < 0 for interval in beyond)
    clean = rows.loc[rows["attack"] == "clean", "dsc"].mean()
    yield (
        f"**{'Yes' if found else 'None was found'}, for this model and these data.** At "
        f"{epsilon_label(largest)} the strongest perturbation (*{best}*) leaves a mean DSC of "
        f"{100 * means[best]:.1f} (clean: {100 * clean:.1f}). The difference is "
        f"{_points(beyond[0])} points to noise and {_points(beyond[1])} to the shuffled "
        "perturbation."
    )


def _beyond(rows: pd.DataFrame, attack: str, control: str) -> Interval:
    """Paired difference of the DSC under an attack to that under a control."""
    columns = [*SAMPLE, "group", "dsc"]
    ours, theirs = (rows.loc[rows["attack"] == name, columns] for name in (attack, control))
    both = theirs.merge(ours, on=columns[:-1], validate="one_to_one")
    return paired_difference(both["dsc_x"], both["dsc_y"], both["group"])


def _table(run: Path, name: str) -> str:
    path = run / "tables" / f"{name}.md"
    return subordinate(path.read_text(encoding="utf-8")) if path.is_file() else ""


def _percent(rows: pd.DataFrame) -> str:
    interval = mean_interval(rows["dsc"], rows["group"])
    return f"{100 * interval.mean:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _points(interval: Interval) -> str:
    mean, low, high = (
        _signed(100 * value) for value in (interval.mean, interval.low, interval.high)
    )
    return f"{mean} [{low}, {high}]"


def _signed(points: float) -> str:
    """Points with a sign, to a tenth; a value that rounds to zero has no sign."""
    return f"{round(points, 1) or 0.0:+.1f}".replace("+0.0", "0.0").replace("-", "−")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*(Path(argument) for argument in sys.argv[1:]))
