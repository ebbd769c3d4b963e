"""The recipes of MedVLSM, each run as it is but for its sizes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from palpate.data.load import load_data
from palpate.data.sources.registry import DATASETS
from palpate.data.splits import PROTOCOLS, members
from palpate.evaluation import read_rows
from palpate.pipeline.run.run import run
from palpate.pipeline.several.sweep import read_sweep

RECIPES = Path(__file__).parents[2] / "recipes"
TESTED = [
    "kvasir", "clinicdb", "bkai", "cvc300", "colondb", "etis", "isic", "dfu", "camus", "busi",
    "chexlocalize",
]  # fmt: skip


@pytest.fixture(scope="module")
def eleven(data_root, tmp_path_factory):
    """Eleven data sets of the same small images."""
    root = tmp_path_factory.mktemp("eleven")
    for name in TESTED:
        folder = shutil.copytree(data_root, root / DATASETS[name].folder)
        for path in (folder / "anns").glob("*.json"):
            entries = json.loads(path.read_text())
            told = {"structure": "something", "group": "one"}
            path.write_text(json.dumps([entry | told for entry in entries]))
    return root


def small(recipe, label, clipseg, root, out):
    """A run of a recipe on small images, with a tiny CLIPSeg, few epochs and few steps."""
    config = read_sweep(RECIPES / f"{recipe}.yaml")[label]
    sizes = {"epochs": 2, "min_epochs": 1, "batch_size": 4, "precision": "fp32", "warmup_epochs": 0}
    settings = replace(config.train.settings, **sizes)
    assert {"noise", "fgsm", "pgd"} == set(config.evaluate.attacks)
    return replace(
        config,
        out=out,
        data=replace(config.data, root=root, size=32, test_limit=1, train_limit=4, val_limit=2),
        model=replace(config.model, name=str(clipseg), device="cpu"),
        train=replace(config.train, settings=settings),
        evaluate=replace(
            config.evaluate, attacks={"noise": {}}, epsilon_255=(8.0,), precision="fp32",
            sanity_samples=0, examples=0,
        ),
    )  # fmt: skip


@pytest.mark.slow
def test_without_training_every_level_of_the_prompts_is_tested(eleven, clipseg, tmp_path):
    config = small("medvlsm-zero-shot", "busi", clipseg, eleven, tmp_path / "run")
    assert not config.model.trains
    run(config)
    rows = read_rows(tmp_path / "run" / "rows")
    assert set(rows["prompt_level"]) == {"p0", "p1"}
    assert set(rows["dataset"]) == {"busi"}
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_fine_tuning_trains_the_decoder_until_it_no_longer_helps(eleven, clipseg, tmp_path):
    whole = read_sweep(RECIPES / "medvlsm-finetune.yaml")
    assert list(whole) == list(PROTOCOLS["pooled-medvlsm"].train)
    settings = whole["kvasir"].train.settings
    assert (settings.schedule, settings.plateau_patience, settings.plateau_factor) == (
        "plateau", 5, 0.1,
    )  # fmt: skip
    assert (settings.early_stopping, settings.early_stopping_delta) == (20, 1e-4)
    assert (settings.epochs, settings.min_epochs, settings.batch_size) == (1000, 10, 128)
    run(small("medvlsm-finetune", "kvasir", clipseg, eleven, tmp_path / "run"))
    table = (tmp_path / "run" / "checkpoint" / "metrics.csv").read_text().splitlines()
    assert "validation_loss" in table[0]
    assert len(table) == 3
    card = json.loads((tmp_path / "run" / "checkpoint" / "palpate.json").read_text())
    assert card["adapter"] is None


@pytest.mark.slow
def test_all_sets_are_pooled_in_one_name(eleven, clipseg, tmp_path):
    assert members("pooled-medvlsm", "test") == tuple(TESTED)
    assert set(members("pooled-medvlsm", "test")) - set(members("pooled-medvlsm", "train")) == {
        "cvc300", "colondb", "etis",
    }  # fmt: skip
    run(small("medvlsm-pooled", "", clipseg, eleven, tmp_path / "run"))
    rows = read_rows(tmp_path / "run" / "rows")
    assert set(rows["dataset"]) == set(TESTED)
    with pytest.raises(ValueError, match="kvasir 5 instead of 100, clinicdb 5 instead of 61"):
        load_data("pooled-medvlsm", eleven, split="test")
