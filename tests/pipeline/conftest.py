import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ..models import tiny

SOURCES = str(Path(__file__).parents[2] / "src")
COUNTS = {"train": 8, "val": 4, "test": 5}


def shell(*arguments):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "palpate", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": SOURCES},
    )


@pytest.fixture(scope="module", autouse=True)
def quick_figures(png_figures):
    """All reports of these tests have small figures."""


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """A folder with the data set `folder`: bright discs on a dark ground."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name in ("images", "masks", "anns"):
        (root / name).mkdir(parents=True)
    for split, count in COUNTS.items():
        entries = [_draw(root, f"{split}{number}.png", rng) for number in range(count)]
        (root / "anns" / f"{split}.json").write_text(json.dumps(entries))
    return root


def _draw(root, name, rng):
    row, column = rng.integers(10, 22, 2)
    y, x = np.mgrid[:32, :32]
    mask = (y - row) ** 2 + (x - column) ** 2 < rng.integers(40, 80)
    image = rng.integers(20, 90, (32, 32, 3)) + 120 * mask[..., None]
    Image.fromarray(image.astype(np.uint8)).save(root / "images" / name)
    Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / name)
    return {"img_name": name, "mask_name": name, "prompts": {"p0": "", "p1": "polyp"}}


@pytest.fixture(scope="session")
def clipseg(tmp_path_factory):
    """Directory of a tiny CLIPSeg in Hugging Face's layout; nobody may change it."""
    folder = tmp_path_factory.mktemp("clipseg")
    vocabulary = tiny.write_tokenizer(folder)
    tiny.hugging_face(tiny.config(vocabulary)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def values(data_root, clipseg):
    """A recipe that takes seconds, as plain values."""
    return {
        "name": "tiny",
        "data": {"name": "folder", "root": str(data_root), "size": 32},
        "model": {"name": str(clipseg), "adapter": "dense-vl", "width": 4},
        "train": {
            "settings": {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "warmup_epochs": 0}
        },
        "evaluate": {
            "attacks": {"noise": {}, "fgsm": {}, "pgd": {"steps": 3}},
            "epsilon_255": [2, 8],
            "batch_size": 2,
            "examples": 1,
        },
    }


@pytest.fixture
def recipe(values, tmp_path):
    """Writes the recipe, with changes given as dotted names, and returns its path."""

    def write(**changes):
        changed = json.loads(json.dumps(values))
        changed["out"] = str(tmp_path / "run")
        for name, value in changes.items():
            *parents, last = name.split("__")
            where = changed
            for parent in parents:
                where = where.setdefault(parent, {})
            where[last] = value
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(changed))
        return path

    return write
