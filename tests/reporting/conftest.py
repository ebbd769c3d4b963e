"""Rows as an evaluation would leave them, drawn from a seed: no model, realistic shapes."""

import numpy as np
import pandas as pd
import pytest

from palpate.evaluation import COLUMNS, Example, Row

FACETS = {
    "kvasir": (("polyp",), 100, 0.86),
    "isic": (("skin lesion",), 120, 0.91),
    "camus": (("left ventricle", "myocardium", "left atrium"), 60, 0.88),
}
STRENGTH = {"noise": 0.4, "fgsm": 18.0, "pgd": 60.0}
COST = {"clean": (1, 0), "noise": (1, 0), "fgsm": (2, 1), "pgd": (41, 40)}


def make_rows(
    facets=FACETS, attacks=("noise", "fgsm", "pgd"), steps=(1, 2, 4, 8), seed=0, scale=1.0
):
    """One row per image, structure, attack and epsilon; ``scale`` shortens the data sets."""
    rng = np.random.default_rng(seed)
    parts = []
    for dataset, (structures, count, level) in facets.items():
        count = max(1, round(count * scale))
        for structure in structures:
            parts.extend(_facet(rng, dataset, structure, count, level, attacks, steps))
    return pd.concat(parts, ignore_index=True)


def _facet(rng, dataset, structure, count, level, attacks, steps):
    number = np.arange(count)
    keys = [f"{dataset}/{structure.replace(' ', '_')}/{i:04d}" for i in number]
    mask_area = np.exp(rng.normal(-2.2, 0.8, count)).clip(0.004, 0.7)
    clean = rng.beta(14 * level, 14 * (1 - level), count)
    base = {
        "dataset": dataset,
        "split": "test",
        "key": keys,
        "image_name": [f"{dataset}_{i:04d}.png" for i in number],
        "structure": structure,
        "group": [f"patient-{i // 2:03d}" if dataset == "camus" else keys[i] for i in number],
        "prompt_level": "p3",
        "prompt": [f"one {structure}, seen near the centre of image {i}" for i in number],
        "seed": 0,
        "protocol": "sound",
        "mask_area": mask_area,
        "height": 224,
        "width": 224,
    }
    parts = [_condition(rng, base, clean, "clean", 0, clean)]
    for attack in attacks:
        for step in steps:
            hardness = 0.4 + mask_area / mask_area.max() + rng.uniform(0, 0.3, count)
            kept = np.exp(-STRENGTH.get(attack, 30.0) * step / 255 / hardness)
            jitter = rng.normal(0, 0.02, count)
            parts.append(_condition(rng, base, clean, attack, step, clean * kept + jitter))
    return parts


def _condition(rng, base, clean, attack, step, dsc):
    count = len(clean)
    dsc = np.clip(dsc, 0, 1)
    area = base["mask_area"] * rng.uniform(0.8, 1.2, count)
    modes = rng.choice(["vanished", "hallucinated", "shifted"], count, p=[0.6, 0.15, 0.25])
    failed = (dsc < 0.5) & (attack != "clean")
    forwards, backwards = COST.get(attack, (1, 1))
    epsilon = step / 255
    return pd.DataFrame(
        base
        | {
            "attack": attack,
            "norm": "linf",
            "epsilon": epsilon,
            "dsc": dsc,
            "iou": dsc / (2 - dsc),
            "miou": (dsc / (2 - dsc) + 0.95) / 2,
            "hd95": np.where(dsc > 0.15, 3 + 90 * (1 - dsc), np.nan),
            "nsd": dsc**1.5,
            "dsc_clean": clean,
            "iou_clean": clean / (2 - clean),
            "clean_area": area,
            "area": np.where(failed & (modes == "vanished"), 0.0, area),
            "success": failed,
            "failure": np.where(failed, modes, "none"),
            "linf": epsilon,
            "l2": epsilon * np.sqrt(3 * 224 * 224) * 0.9,
            "psnr": np.inf if step == 0 else -20 * np.log10(epsilon),
            "ssim": 1 - epsilon * 2,
            "loss_clean": 1 - clean,
            "loss": 1 - dsc,
            "forwards": float(forwards),
            "backwards": float(backwards),
            "seconds": 0.07 * forwards + 0.13 * backwards,
        }
    )


@pytest.fixture(scope="session")
def all_rows():
    """Three data sets, one of them with two structures; four facets, seven conditions."""
    structures = {"camus": (("left ventricle", "myocardium"), 60, 0.88)}
    return make_rows(FACETS | structures, steps=(4, 8), scale=0.2)


@pytest.fixture
def rows(all_rows):
    """Rows to spoil."""
    return all_rows.copy()


@pytest.fixture
def kvasir(rows):
    """The rows of one data set: twenty images, seven conditions."""
    return rows[rows["dataset"] == "kvasir"].reset_index(drop=True)


@pytest.fixture
def make():
    return make_rows


def make_examples(rows, size=(24, 32), count=2):
    """Examples of the first images of each facet: a square lesion, answers that move with DSC."""
    rng = np.random.default_rng(1)
    found = []
    for _, part in rows.groupby(["dataset", "structure"], sort=False):
        for key in part["key"].unique()[:count]:
            image = rng.random((3, *size), dtype=np.float32) * 0.8 + 0.1
            found.extend(
                _example(rng, image, record)
                for record in part[part["key"] == key].to_dict("records")
            )
    return found


def _example(rng, image, record):
    row = Row.of({name: record[name] for name in COLUMNS if name in record})
    mask = np.zeros(image.shape[1:], dtype=bool)
    mask[4:12, 6:16] = True
    prediction = np.roll(mask, int(6 * (1 - row.dsc)), axis=0) & (row.failure != "vanished")
    delta = row.epsilon * rng.choice([-1.0, 1.0], image.shape)
    return Example(row, (image + delta).astype(np.float32), mask, prediction)


@pytest.fixture(scope="session", name="make_examples")
def examples_maker():
    return make_examples
