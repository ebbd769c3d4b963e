import json
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from palpate.evaluation.sanity import sanity_card
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import run
from palpate.reporting.figures import drawing, figures
from palpate.reporting.html import page

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
def quick():
    """Reports draw nothing, and sanity cards take two steps: the two are most of a small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("palpate.pipeline.run.run.sanity_card", partial(sanity_card, steps=2))
        report = sys.modules["palpate.reporting.report"]
        patch.setattr(report, "write_charts", lambda *_: None)
        patch.setattr(report, "write_panels", lambda *_: None)
        undrawn = SimpleNamespace(inline=_undrawn, legend_of=figures.legend_of)
        patch.setattr(page, "figures", undrawn)
        yield


def _undrawn(chart):
    return {facet: "<svg></svg>" for facet, _ in chart.parts}


@contextmanager
def small_figures():
    """Reports draw all their figures after all, the files as small PNGs."""

    def save(figure, folder, name, formats=()):
        return whole(figure, folder, name, formats=("png",))

    whole = drawing.save
    with pytest.MonkeyPatch.context() as patch:
        report = sys.modules["palpate.reporting.report"]
        patch.setattr(report, "write_charts", figures.write_charts)
        patch.setattr(report, "write_panels", figures.write_panels)
        patch.setattr(page, "figures", figures)
        patch.setattr(drawing, "save", save)
        patch.setitem(drawing._STYLE, "savefig.dpi", 50)
        yield


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
            "sanity_samples": 0,
        },
    }


@pytest.fixture(scope="session")
def tuned(values, tmp_path_factory):
    """A whole run with all that belongs to it; nobody may change it.

    Its folder, its page, and what it told about its progress.
    """
    out = tmp_path_factory.mktemp("tuned") / "tuned"
    told = []
    evaluate = values["evaluate"] | {"sanity_samples": 1}
    config = config_from(values | {"out": str(out), "evaluate": evaluate})
    with small_figures(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("palpate.pipeline.run.run.sanity_card", partial(sanity_card, steps=2))
        return out, run(config, lambda *what: told.append(what[:3])), told


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
