"""Measure how strong the ensemble is, and which loss PGD should have; draw cost against strength.

    python docs/scripts/measure_ensemble.py MODEL DATA RADIUS IMAGES [--parts ensemble pool losses]
    python docs/scripts/measure_ensemble.py --draw

The first form attacks MODEL (a name or a checkpoint) on the first test images of DATA, 224 px, at
RADIUS in units of 1/255, and writes the rows to ``docs/rows/ensemble-*.parquet``. ``--budget`` is
a preset of the ensemble. Parts:

- ``ensemble``: the ensemble.
- ``pool``: five times the steps of the ensemble: APGD with eight losses (a quarter of the steps of
  the ensemble each), PGD with two (half each), SEA and one run of APGD (as many steps each).
- ``losses``: FGSM, and PGD of 20 and 40 steps, with each of four losses.

The second form makes the tables and the figure of ``docs/attacks.md`` from these rows.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

import palpate as pp
from palpate.attacks import LOSSES
from palpate.attacks.gradient.ensemble import PRESETS
from palpate.types import Attack

DOCS = Path(__file__).parents[1]
KEPT = ["model", "dataset", "key", "attack", "epsilon", "dsc", "dsc_clean", "forwards", "backwards"]
IN_POOL = (
    "annealed_dice", "margin", "bce_dice", "dice", "jensen_shannon", "masked_margin", "tsallis",
    "lovasz_hinge",
)  # fmt: skip
LONG = ("annealed_dice", "margin")
AS_DEFAULT = ("bce_dice", "margin", "annealed_dice", "jensen_shannon")
MARKS = {
    "ensemble": "D", "sea": "s", "apgd-margin": "^", "apgd-annealed_dice": "v", "pgd-bce_dice": "o",
    "pgd-margin": "<", "pgd-annealed_dice": ">",
}  # fmt: skip


def attacks_of(parts: list[str], preset: str) -> Iterator[tuple[str, Attack]]:
    """Attacks by name; the name says what they are."""
    steps = PRESETS[preset]
    if "ensemble" in parts:
        yield f"ensemble-{preset}", partial(pp.attacks.ensemble, preset=preset)
    if "pool" in parts:
        short, long = steps // 4, steps // 2
        yield from ((f"apgd-{loss}-{short}", _with("apgd", loss, short)) for loss in IN_POOL)
        yield from ((f"pgd-{loss}-{long}", _with("pgd", loss, long)) for loss in LONG)
        yield f"apgd-{LONG[0]}-{steps}", _with("apgd", LONG[0], steps)
        yield f"sea-{preset}", partial(pp.attacks.sea, preset=preset)
    if "losses" in parts:
        for loss in AS_DEFAULT:
            yield f"fgsm-{loss}", partial(pp.attacks.fgsm, loss=LOSSES[loss])
            for count in (20, 40):
                yield f"pgd-{loss}-{count}", _with("pgd", loss, count)


def _with(attack: str, loss: str, steps: int) -> Attack:
    return partial(pp.attacks.ATTACKS[attack], steps=steps, loss=LOSSES[loss])


def measure(model: str, data: str, radius: float, images: int, attacks: dict[str, Attack]) -> None:
    """Attack, and add the rows to those of this model, data set and radius."""
    torch.set_num_threads(1)
    samples = pp.load_data(data, size=224, limit=images)
    rows = pp.evaluate(pp.load_model(model), samples, attacks, epsilons=[radius / 255])
    name = Path(model).parent.name if Path(model).is_dir() else Path(model).name
    path = DOCS / "rows" / f"ensemble-{name}-{data}-{radius:g}.parquet"
    path.parent.mkdir(exist_ok=True)
    rows = rows[rows["attack"] != "clean"].assign(model=name)[KEPT]
    known = [pd.read_parquet(path)] if path.is_file() else []
    same = [name for name in KEPT if name not in ("dsc", "dsc_clean", "forwards", "backwards")]
    pd.concat([*known, rows]).drop_duplicates(same, keep="last").to_parquet(path, index=False)


def gains(rows: pd.DataFrame, preset: str) -> dict[str, float]:
    """What the pool finds beyond the ensemble, in points of DSC, on the images that have both."""
    table = rows.pivot_table(index="key", columns="attack", values="dsc")
    pool = list(dict(attacks_of(["pool"], preset)))
    table = table.dropna(subset=[f"ensemble-{preset}", *pool])
    found = 100 * (table[f"ensemble-{preset}"] - table[pool].min(axis=1)).clip(lower=0)
    passes = rows.assign(passes=rows["forwards"] + rows["backwards"]).groupby("attack")["passes"]
    return {
        "images": len(table),
        "ensemble": 100 * table[f"ensemble-{preset}"].mean(),
        "SEA": 100 * table[f"sea-{preset}"].mean(),
        "pool": 100 * table[pool].min(axis=1).mean(),
        "mean gain": found.mean(),
        "95 % of gains below": found.quantile(0.95),
        "passes": passes.mean()[f"ensemble-{preset}"],
        "passes of the pool": passes.mean()[pool].sum(),
    }


def by_loss(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC in percent under FGSM and PGD with each loss."""
    lines = {}
    for loss in AS_DEFAULT:
        names = {"FGSM": f"fgsm-{loss}", "PGD 20": f"pgd-{loss}-20", "PGD 40": f"pgd-{loss}-40"}
        known = {k: rows.loc[rows["attack"] == name, "dsc"] for k, name in names.items()}
        lines[loss] = {k: 100 * values.mean() for k, values in known.items() if len(values)}
    return pd.DataFrame(lines).T


def draw(path: Path) -> None:
    """Mean DSC over passes, for each model, data set and radius with rows of the ensemble."""
    stored = {path.stem: pd.read_parquet(path) for path in _stored()}
    shown = {k: v for k, v in stored.items() if v["attack"].str.startswith("ensemble").any()}
    figure, axes = plt.subplots(1, len(shown), figsize=(4 * len(shown), 3.2), squeeze=False)
    for axis, (name, rows) in zip(axes[0], shown.items(), strict=True):
        means = rows.assign(passes=rows["forwards"] + rows["backwards"]).groupby("attack")
        means = means[["passes", "dsc"]].mean().sort_values("passes")
        for kind, mark in MARKS.items():
            some = means[means.index.str.startswith(kind)]
            if len(some):
                axis.plot(some["passes"], 100 * some["dsc"], mark + "-", label=kind, markersize=5)
        images = rows["key"].nunique()
        axis.set_title(f"{name.removeprefix('ensemble-')}/255, n = {images}", fontsize=9)
        axis.set(xlabel="forward + backward passes per image", ylim=(0, None))
        axis.legend(fontsize=6)
    axes[0][0].set_ylabel("mean DSC (%)")
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _stored() -> list[Path]:
    return sorted((DOCS / "rows").glob("ensemble-*.parquet"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("data", nargs="?")
    parser.add_argument("radius", nargs="?", type=float)
    parser.add_argument("images", nargs="?", type=int, default=20)
    parser.add_argument("--parts", nargs="+", default=["ensemble", "pool", "losses"])
    parser.add_argument("--budget", choices=PRESETS, default="quick")
    parser.add_argument("--draw", action="store_true")
    given = parser.parse_args()
    if given.draw:
        draw(DOCS / "figures" / "ensemble.png")
        for path in _stored():
            rows = pd.read_parquet(path)
            losses = by_loss(rows)
            print(path.stem, "" if losses.empty else losses.round(1).to_string(), sep="\n")
            for preset in PRESETS:
                whole = dict(attacks_of(["ensemble", "pool"], preset))
                if set(whole) <= set(rows["attack"]):
                    print(preset, {k: round(float(v), 2) for k, v in gains(rows, preset).items()})
        return
    attacks = dict(attacks_of(given.parts, given.budget))
    measure(given.model, given.data, given.radius, given.images, attacks)


if __name__ == "__main__":
    main()
