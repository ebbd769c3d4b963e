"""Write the section of ``docs/results.md`` that compares models, from finished run folders.

python docs/scripts/make_model_results.py runs/kvasir runs/pranet-kvasir-224 runs/unet-kvasir
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from results_page import DOCS, command, machine_of, markdown, put_section, subordinate

from palpate.models import load_model
from palpate.pipeline.several.compare import compare_runs

FIGURE = "dsc-over-epsilon-models.png"
TABLES = ("main", "compare", "failures", "curve-area")


def main(runs: list[Path]) -> None:
    with TemporaryDirectory() as scratch:
        made = Path(scratch)
        compare_runs(runs, made)
        picture = (made / "figures" / "dsc-over-epsilon.png").read_bytes()
        (DOCS / "figures" / FIGURE).write_bytes(picture)
        tables = [subordinate((made / "tables" / f"{name}.md").read_text()) for name in TABLES]
    put_section("models", _section(runs, tables))


def _section(runs: list[Path], tables: list[str]) -> list[str]:
    recipes = "; ".join(f"`{command(run.name, run)}`" for run in runs)
    return [
        "## Models trained for the same number of epochs",
        "",
        f"{recipes}; then `palpate compare {' '.join(f'runs/{run.name}' for run in runs)}`. "
        f"{machine_of(runs[0] / 'environment.json')}",
        "",
        *markdown(pd.DataFrame(list(_trained(runs)))),
        "",
        "Only the first model starts from a pretrained image encoder. The clean scores of the "
        "others show what so many epochs from random weights reach, not how good these networks "
        "can be.",
        "",
        *tables,
        f"![DSC over epsilon, one panel per model](figures/{FIGURE})",
        "",
    ]


def _trained(runs: list[Path]) -> Iterator[dict[str, str]]:
    for run in runs:
        model = load_model(run / "checkpoint")
        learnt = sum(p.numel() for p in model.net.parameters() if p.requires_grad)
        with (run / "checkpoint" / "metrics.csv").open(encoding="utf-8") as file:
            epochs = list(csv.DictReader(file))
        training = json.loads((run / "checkpoint" / "palpate.json").read_text())["training"]
        yield {
            "Run": run.name,
            "parameters": f"{sum(p.numel() for p in model.net.parameters()) / 1e6:.1f} M",
            "trained": f"{learnt / 1e6:.1f} M",
            "epochs": str(len(epochs)),
            "images per batch": str(training["settings"]["batch_size"]),
            "minutes": f"{sum(float(epoch['seconds']) for epoch in epochs) / 60:.0f}",
        }


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main([Path(argument) for argument in sys.argv[1:]])
