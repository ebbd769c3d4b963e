"""Write the section of ``docs/results.md`` on fine-tuned models, from finished run folders.

python docs/scripts/make_results.py runs/kvasir runs/isic runs/camus
"""

import csv
import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import yaml
from results_page import DOCS, machine_of, markdown, put_section, subordinate

from palpate.cli.tables.data_check import check_data
from palpate.data.integrity import Finding
from palpate.evaluation import read_rows
from palpate.evaluation.sanity import load_card
from palpate.evaluation.statistics.intervals import Interval, paired_difference
from palpate.reporting import report
from palpate.reporting.labels import epsilon_label

TABLES = ("baseline", "main", "failures", "curve-area", "quality")
FIGURE = "dsc-over-epsilon.png"
ORDER = ("noise", "fgsm", "pgd")
FILES = 2  # named as examples of a finding


def main(folders: list[Path]) -> None:
    with TemporaryDirectory() as scratch:
        made = Path(scratch)
        report(
            pd.concat([read_rows(folder / "rows") for folder in folders], ignore_index=True),
            made,
            baseline=pd.concat([read_rows(folder / "baseline") for folder in folders]),
            sanity=[check for folder in folders for check in load_card(folder / "sanity.json")],
        )
        (DOCS / "figures").mkdir(exist_ok=True)
        (DOCS / "figures" / FIGURE).write_bytes((made / "figures" / FIGURE).read_bytes())
        tables = {
            name: subordinate((made / "tables" / f"{name}.md").read_text()) for name in TABLES
        }
    put_section("tuned", (line for lines in _section(folders, tables) for line in lines))


def _section(folders: list[Path], tables: dict[str, str]) -> Iterator[list[str]]:
    names = ", ".join(folder.name for folder in folders)
    yield [
        "## Adapters on a DINOv2 with the architecture of CLIPSeg",
        "",
        "`make results`, hours on 2 cores; an interrupted run continues. "
        f"{machine_of(folders[0] / 'environment.json')}",
        "",
        "The model combines a DINOv2 ViT-S/14 with the architecture of CLIPSeg at 224 px. Its text "
        "encoder and decoder were pretrained on the training splits of all data sets with a frozen "
        "image encoder (*frozen* below); then dense-vl adapters were trained on each data set "
        "(*tuned*). The data are down-scaled copies and subsets of the public sets, so these "
        "numbers are not comparable with published ones.",
        "",
        tables["baseline"],
        tables["main"],
        f"![DSC over epsilon for {names}](figures/{FIGURE})",
        "",
    ]
    yield [
        "### Data checks",
        "",
        f"`palpate data check {' '.join(_set(folder) for folder in folders)}`",
        "",
        *markdown(pd.DataFrame(list(_checked(folders)))),
        "",
    ]
    yield ["Settings of the attacks:", "", *(_settings(folder) for folder in folders), ""]
    yield [
        "### Order of the attacks",
        "",
        *markdown(pd.DataFrame(list(_orders(folders)))),
        "",
        "Mean DSC in percent. Expected order of the means: PGD not above FGSM, FGSM not above "
        "noise, and neither FGSM nor PGD rises with ε. Where a mean is out of order, the last "
        "column gives the paired difference in points with its 95 % interval.",
        "",
        *_doubts(folders),
        *(tables[name] for name in TABLES[2:]),
    ]
    yield [
        "### Cost",
        "",
        *markdown(pd.DataFrame(list(_costs(folders)))),
        "",
        "Peak memory is that of the process up to the end of the stage. It depends on the batch "
        "size (32 images in training, 16 under attack), not on the number of images; tests check "
        "that training and evaluation keep no image beyond its batch. In the first epochs the "
        "process still grows because the heap of the allocator becomes fragmented: "
        f"{_growth(folders)}.",
        "",
    ]


def _checked(folders: list[Path]) -> Iterator[dict[str, str]]:
    for one in check_data([_set(folder) for folder in folders]).sets:
        found = [f"{finding.check}: {_told(finding)}" for finding in one.findings]
        yield {
            "Data": one.name,
            "images": ", ".join(f"{split} {counts.images}" for split, counts in one.splits.items()),
            "what is not as it should be": "<br>".join(found) or "nothing",
        }


def _told(finding: Finding) -> str:
    return " ".join([finding.message, *(f"`{file}`" for file in finding.files[:FILES])])


def _set(folder: Path) -> str:
    return str(_wanted(folder)["data"]["name"])


def _wanted(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    return values


def _settings(folder: Path) -> str:
    wanted = _wanted(folder)["evaluate"]
    return (
        f"- {folder.name}: `{json.dumps(wanted['attacks'])}`, {wanted['precision']} during the "
        "attack, scores in fp32"
    )


def _orders(folders: list[Path]) -> Iterator[dict[str, str]]:
    for folder in folders:
        for structure, some in read_rows(folder / "rows").groupby("structure"):
            means = some.groupby(["attack", "epsilon"])["dsc"].mean().unstack("attack")
            broken = dict(_out_of_order(some))
            for epsilon, line in means.drop(index=0.0).iterrows():
                yield {
                    "Data": f"{folder.name}, {structure}",
                    "ε": epsilon_label(float(str(epsilon))),
                    **{name: f"{100 * line[name]:.1f}" for name in ORDER},
                    "as expected": broken.get(float(str(epsilon)), "yes"),
                }


def _out_of_order(rows: pd.DataFrame) -> Iterator[tuple[float, str]]:
    """Radii at which a mean DSC is above that of a weaker attack or of a smaller radius."""
    scores = rows.pivot_table(index=["key", "group"], columns=["attack", "epsilon"], values="dsc")
    groups = scores.index.get_level_values("group").to_numpy()
    radii = sorted(rows.loc[rows["attack"] != "clean", "epsilon"].unique())
    for number, epsilon in enumerate(radii):
        pairs = [((weak, epsilon), (strong, epsilon)) for weak, strong in pairwise(ORDER)]
        if number:
            pairs += [((name, radii[number - 1]), (name, epsilon)) for name in ORDER[1:]]
        wrong = [(less, more) for less, more in pairs if scores[more].mean() > scores[less].mean()]
        told = [
            f"{more[0]} − {less[0]} at {epsilon_label(less[1])}: "
            f"{_points(paired_difference(scores[less], scores[more], groups))}"
            for less, more in wrong
        ]
        if told:
            yield epsilon, "; ".join(told)


def _points(found: Interval) -> str:
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _doubts(folders: list[Path]) -> Iterator[str]:
    """The checks of the sanity cards that gave a warning or failed."""
    for folder in folders:
        for check in load_card(folder / "sanity.json"):
            if check.status in ("warn", "fail"):
                where = f"Sanity card of {folder.name}, check {check.number} ({check.status})"
                yield f"{where}: {check.measured} {check.meaning}"
                yield ""


def _costs(folders: list[Path]) -> Iterator[dict[str, str]]:
    for folder in folders:
        epochs = _epochs(folder)
        yield {
            "Run": folder.name,
            "Stage": f"train, {len(epochs)} epochs",
            "minutes": f"{sum(float(e['seconds']) for e in epochs) / 60:.0f}",
            "peak memory (MB)": f"{max(float(e['peak_memory_mb']) for e in epochs):.0f}",
        }
        for stage, cost in _json(folder / "costs.json").items():
            if stage in ("evaluate", "sanity", "report"):
                yield {
                    "Run": folder.name,
                    "Stage": stage,
                    "minutes": f"{cost['seconds'] / 60:.1f}",
                    "peak memory (MB)": f"{cost['peak_memory_mb']:.0f}",
                }


def _growth(folders: list[Path]) -> str:
    parts = []
    for folder in folders:
        peaks = [float(epoch["peak_memory_mb"]) for epoch in _epochs(folder)]
        parts.append(f"{folder.name} {peaks[0]:.0f} MB after one epoch, {peaks[-1]:.0f} at the end")
    return "; ".join(parts)


def _epochs(folder: Path) -> list[dict[str, str]]:
    with (folder / "checkpoint" / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _json(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main([Path(argument) for argument in sys.argv[1:]])
