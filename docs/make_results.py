"""Write ``docs/results.md`` from run folders; every number in it is computed here from their rows.

python docs/make_results.py runs/kvasir runs/isic runs/camus
"""

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from palpate.evaluation import read_rows
from palpate.evaluation.comparison import paired_test
from palpate.evaluation.statistics import bootstrap_interval, paired_difference

DOCS = Path(__file__).resolve().parent
SAMPLE = ["dataset", "key", "prompt"]


def main(folders: list[Path]) -> None:
    text = "\n".join(line for lines in _page(folders) for line in lines)
    (DOCS / "results.md").write_text(text + "\n", encoding="utf-8")
    print(DOCS / "results.md")


def _page(folders: list[Path]) -> Iterator[list[str]]:
    environment = _json(folders[0] / "environment.json")
    packages = environment["packages"]
    yield [
        "# Results",
        "",
        "Made by `docs/make_results.py` from run folders; no number is typed by hand. To make it "
        "again (hours on 2 cores; a killed run goes on where it was):",
        "",
        "```",
        *[f"palpate run --config recipes/{folder.name}.yaml" for folder in folders],
        f"python docs/make_results.py {' '.join(f'runs/{folder.name}' for folder in folders)}",
        "```",
        "",
        f"Machine: {environment['processor']}, {environment['cores']} cores; Python "
        f"{environment['python']}, torch {packages['torch']}, transformers "
        f"{packages['transformers']}, MONAI {packages['monai']}.",
        "",
        "The model is a DINOv2 ViT-S/14 in the shape of CLIPSeg at 224 px. Its text tower and "
        "decoder were pretrained on the training splits of all three data sets with the image "
        "tower frozen (the *frozen encoder* below); then dense-vl adapters were trained on each "
        "data set. The data are the down-scaled copies and subsets described in their own README, "
        "so these numbers are not comparable with those of papers.",
        "",
    ]
    yield ["## Clean", "", *_markdown(pd.DataFrame(_clean(folders))), ""]
    yield [
        "DSC and IoU in percent: mean over images and its 95 % bootstrap interval, resampled by "
        "patient for CAMUS and by image elsewhere. Every sample keeps one prompt, drawn once.",
        "",
    ]
    for folder in folders:
        yield _under_attack(folder)
    yield ["## Order", "", *_markdown(pd.DataFrame(_orders(folders))), ""]
    yield [
        "Mean DSC in percent. *Holds*: PGD is not weaker than FGSM, FGSM not weaker than noise, "
        "and no attack gets weaker with epsilon, all in mean DSC.",
        "",
        "## Cost",
        "",
        *_markdown(pd.DataFrame(_costs(folders))),
        "",
        "Peak memory is that of the process up to the end of the stage.",
    ]


def _clean(folders: list[Path]) -> Iterator[dict[str, str]]:
    for folder in folders:
        tuned, frozen = (_of(read_rows(folder / part), "clean") for part in ("rows", "baseline"))
        for structure, rows in tuned.groupby("structure"):
            before = frozen[frozen["structure"] == structure].set_index(SAMPLE)
            after = rows.set_index(SAMPLE)
            before = before.loc[after.index]
            gain = paired_difference(
                before["dsc"].to_numpy(), after["dsc"].to_numpy(), after["group"].to_numpy()
            )
            test = paired_test(
                before["dsc"].to_numpy(), after["dsc"].to_numpy(), after["group"].to_numpy()
            )
            yield {
                "Data": f"{folder.name}, {structure}",
                "n": str(len(after)),
                "DSC, frozen encoder": _interval(before, "dsc"),
                "DSC, dense-vl adapters": _interval(after, "dsc"),
                "gain": f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]",
                "p": f"{test.p_value:.1g}",
                "IoU, adapters": _interval(after, "iou"),
            }


def _under_attack(folder: Path) -> list[str]:
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    figure = f"figures/{folder.name}-dsc-over-epsilon.png"
    (DOCS / "figures").mkdir(exist_ok=True)
    shutil.copyfile(folder / "figures" / "dsc-over-epsilon.png", DOCS / figure)
    table = (folder / "tables" / "main.md").read_text(encoding="utf-8").strip()
    return [
        f"## {folder.name} under attack",
        "",
        table,
        "",
        f"![DSC over epsilon]({figure})",
        "",
        f"Attacks: `{json.dumps(config['evaluate']['attacks'])}`, "
        f"{config['evaluate']['precision']} during the attack, scores in fp32.",
        "",
    ]


def _orders(folders: list[Path]) -> Iterator[dict[str, str]]:
    for folder in folders:
        rows = read_rows(folder / "rows")
        for structure, some in rows.groupby("structure"):
            means = some.groupby(["attack", "epsilon"])["dsc"].mean().unstack("attack")
            attacked = means.drop(index=0.0)
            steps = attacked[["noise", "fgsm", "pgd"]].diff(axis=1).iloc[:, 1:]
            weaker_with_epsilon = attacked[["fgsm", "pgd"]].diff().iloc[1:]
            holds = (steps <= 0).all(axis=None) and (weaker_with_epsilon <= 0).all(axis=None)
            for epsilon, line in attacked.iterrows():
                yield {
                    "Data": f"{folder.name}, {structure}",
                    "ε": f"{255 * float(str(epsilon)):g}/255",
                    **{name: f"{100 * line[name]:.1f}" for name in ("noise", "fgsm", "pgd")},
                    "holds": "yes" if holds else "NO",
                }


def _costs(folders: list[Path]) -> Iterator[dict[str, str]]:
    for folder in folders:
        with (folder / "checkpoint" / "metrics.csv").open(encoding="utf-8") as file:
            epochs = list(csv.DictReader(file))
        yield {
            "Run": folder.name,
            "Stage": "training",
            "seconds": f"{sum(float(e['seconds']) for e in epochs):.0f}",
            "peak memory, MB": f"{max(float(e['peak_memory_mb']) for e in epochs):.0f}",
            "what": f"{len(epochs)} epochs",
        }
        rows = read_rows(folder / "rows")
        for stage, cost in _json(folder / "costs.json").items():
            if stage in ("evaluate", "sanity", "report"):
                yield {
                    "Run": folder.name,
                    "Stage": stage,
                    "seconds": f"{cost['seconds']:.0f}",
                    "peak memory, MB": f"{cost['peak_memory_mb']:.0f}",
                    "what": f"{len(rows)} rows" if stage == "evaluate" else "",
                }


def _interval(rows: pd.DataFrame, score: str) -> str:
    found = bootstrap_interval(rows[score].to_numpy(), rows["group"].to_numpy())
    return f"{100 * found.mean:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _of(rows: pd.DataFrame, attack: str) -> pd.DataFrame:
    return rows[rows["attack"] == attack]


def _markdown(table: pd.DataFrame) -> list[str]:
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
