"""Write the model card of palpate/tiny and its section of ``docs/results.md``.

python docs/scripts/make_tiny_card.py runs/press-tiny runs/tiny/model

The first folder holds a run per data set, the second is what ``palpate pretrain`` made.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from results_page import DOCS, machine, markdown, put_section, subordinate

from palpate.data import PHANTOMS, listening_pair
from palpate.evaluation import evaluate, read_rows
from palpate.evaluation.statistics.intervals import Interval, mean_interval, paired_difference
from palpate.models import VLSM, load_vlsm
from palpate.models.files.weights import EMBEDDED
from palpate.pipeline.several.compare import cards
from palpate.reporting import report

FIGURE = "dsc-over-epsilon-tiny.png"
PAIRS = 150
_CARD = Path(__file__).with_name("tiny_card.md")


def main(runs: Path, made: Path) -> None:
    folders = sorted(path.parent for path in runs.glob("*/config.yaml"))
    rows = pd.concat([read_rows(folder / "rows") for folder in folders], ignore_index=True)
    model = load_vlsm("palpate/tiny")
    listening = pd.DataFrame([_listening(model, name) for name in PHANTOMS])
    (EMBEDDED["palpate/tiny"] / "README.md").write_text(
        _card(model, rows, listening, made), encoding="utf-8"
    )
    put_section("tiny", _section(folders, rows, listening))


def _listening(model: VLSM, name: str) -> dict[str, str]:
    """Scores with the right prompts and with those of another object in the same images."""
    right, wrong = (
        evaluate(model, data, {}).set_index("key").sort_index()
        for data in listening_pair(name, size=224, prompt="random", count=PAIRS)
    )
    groups = right["group"].to_numpy()
    lost = paired_difference(wrong["dsc"], right["dsc"], groups)
    return {
        "Data": name,
        "right prompt": _percent(mean_interval(right["dsc"], groups)),
        "wrong prompt": _percent(mean_interval(wrong["dsc"], groups)),
        "difference": _percent(lost),
    }


def _card(model: VLSM, rows: pd.DataFrame, listening: pd.DataFrame, made: Path) -> str:
    vision = model.net.config.vision
    steps = {name: _metrics(made.parent / name) for name in ("distilled", "trained")}
    best = {name: table.loc[table.iloc[:, 3].idxmax()] for name, table in steps.items()}
    minutes = sum(table["seconds"].sum() for table in steps.values()) / 60
    memory = max(table["peak_memory_mb"].max() for table in steps.values())
    return _CARD.read_text(encoding="utf-8").format(
        parameters=sum(p.numel() for p in model.parameters()),
        vocabulary=model.net.config.text.vocab_size,
        width=vision.hidden_size,
        layers=vision.num_hidden_layers,
        cost=f"{minutes / 60:.1f} hours on one core of a CPU with bfloat16, {memory:.0f} MB.",
        agreement=f"{len(steps['distilled'])} epochs; mean cosine similarity "
        f"{best['distilled']['agreement']:.2f} on held-out images",
        reached=f"{len(steps['trained'])} epochs; DSC {best['trained']['dsc']:.3f} on validation "
        "images",
        scores="\n".join(markdown(pd.DataFrame(list(_scores(rows))))),
        pairs=PAIRS,
        listening="\n".join(markdown(listening)),
        failures="\n".join(_failures(rows)),
    )


def _metrics(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "work" / "metrics.csv")


def _scores(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    clean = rows[rows["attack"] == "clean"]
    for (dataset, structure), part in clean.groupby(["dataset", "structure"], sort=False):
        interval = mean_interval(part["dsc"], part["group"].to_numpy())
        yield {
            "Data": dataset,
            "Structure": structure,
            "n": len(part),
            "DSC": _percent(interval),
            "worst tenth": f"{100 * part['dsc'].nsmallest(max(1, len(part) // 10)).mean():.1f}",
        }


def _failures(rows: pd.DataFrame) -> Iterator[str]:
    """The most frequent failures, counted from the rows."""
    clean = rows[rows["attack"] == "clean"]
    for dataset, part in clean.groupby("dataset", sort=False):
        failed = part.loc[part["failure"] != "none", "failure"].value_counts()
        kinds = ", ".join(f"{count} {kind}" for kind, count in failed.items()) or "none"
        small = part[part["mask_area"] < part["mask_area"].quantile(1 / 3)]
        yield (
            f"- {dataset}: failures among {len(part)} images (DSC up to 0.5): {kinds}. Mean DSC of "
            f"the third with the smallest masks: {100 * small['dsc'].mean():.1f}."
        )
    pgd = rows[(rows["attack"] == "pgd") & (rows["epsilon"] < 1.5 / 255)]
    yield (
        "- The model is not robust, and was not trained to be: the mean DSC over all of these "
        f"images under PGD at 1/255 is {100 * pgd['dsc'].mean():.1f}."
    )


def _section(folders: list[Path], rows: pd.DataFrame, listening: pd.DataFrame) -> list[str]:
    with TemporaryDirectory() as scratch:
        made = Path(scratch)
        checks = cards(folders)
        report(rows, made, sanity=checks)
        (DOCS / "figures" / FIGURE).write_bytes(
            (made / "figures" / "dsc-over-epsilon.png").read_bytes()
        )
        table = subordinate((made / "tables" / "main.md").read_text(encoding="utf-8"))
    environment = json.loads((folders[0] / "environment.json").read_text(encoding="utf-8"))
    return [
        "## palpate/tiny without fine-tuning",
        "",
        f"`make tiny-results`, {_minutes(folders):.0f} minutes here, with other processes running. "
        f"{machine(environment)}",
        "",
        "The included model, on phantoms that it was not trained on and on the test splits of the "
        "real data sets that it was trained on (recipe `recipes/press-tiny.yaml`). Its [model "
        "card](../src/palpate/models/tiny/README.md) describes how it was made.",
        "",
        table,
        f"![DSC over epsilon for palpate/tiny](figures/{FIGURE})",
        "",
        "### Does the model follow the prompt?",
        "",
        "The same images with the right prompt and with the prompt of another object in the image: "
        f"the other polyp, the other lesion, another structure of the heart (n = {PAIRS} each, DSC "
        "in percent, paired difference).",
        "",
        *markdown(listening),
    ]


def _minutes(folders: list[Path]) -> float:
    costs = [json.loads((folder / "costs.json").read_text()) for folder in folders]
    return sum(stage["seconds"] for run in costs for stage in run.values()) / 60


def _percent(interval: Interval) -> str:
    return f"{100 * interval.mean:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
