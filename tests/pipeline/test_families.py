"""Every family that is made anew goes through fine-tune, attack and report on phantoms."""

import json

import pandas as pd
import pytest

from palpate.cli import main
from palpate.evaluation import read_rows
from palpate.models import load_model
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import run, train_only
from palpate.pipeline.several.transfer import model_of
from palpate.progress import silent

from ..models.small import SMALL

OWN = """
from torch import nn

def make(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.PReLU(), nn.Conv2d(width, 1, 1))
"""


def values(name, out, **changes):
    return {
        "name": "small",
        "out": str(out),
        "data": {
            "name": "phantom-endoscopy", "size": 64 if name == "monai/swin-unetr" else 32,
            "train_limit": 4, "val_limit": 2, "test_limit": 2,
        },
        "model": {"name": name, "options": SMALL.get(name, {})},
        "train": {"settings": {"epochs": 1, "batch_size": 2, "warmup_epochs": 0}},
        "evaluate": {
            "attacks": {"noise": {}, "pgd": {"steps": 2}},
            "epsilon_255": [8],
            "batch_size": 2,
            "examples": 1,
            "sanity_samples": 0,
        },
    } | changes  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_each_is_trained_attacked_and_reported(name, tmp_path):
    page = run(config_from(values(name, tmp_path / "run")))
    assert page.is_file()
    rows = read_rows(tmp_path / "run" / "rows")
    assert rows.groupby("attack").size().to_dict() == {"clean": 2, "noise": 2, "pgd": 2}
    assert not (tmp_path / "run" / "baseline").exists()  # nothing can be said of random weights
    card = json.loads((tmp_path / "run" / "checkpoint" / "palpate.json").read_text())
    assert card["base"] == name
    assert card["options"] == SMALL[name]
    assert load_model(tmp_path / "run" / "checkpoint").fresh is False


@pytest.mark.slow
def test_code_of_ones_own_is_trained_attacked_and_reported(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    name = f"{tmp_path / 'mine.py'}:make"
    config = config_from(values(name, tmp_path / "run"))
    run(config)
    before = read_rows(tmp_path / "run" / "rows")
    run(config)  # picks up what is there
    pd.testing.assert_frame_equal(read_rows(tmp_path / "run" / "rows"), before)


def test_an_adapter_that_was_asked_for_is_not_left_out_silently(tmp_path):
    model = {"name": "monai/unet", "options": SMALL["monai/unet"], "adapter": "shallow-v"}
    with pytest.raises(ValueError, match="monai/unet has no places for adapters"):
        run(config_from(values("monai/unet", tmp_path / "run", model=model)))


def test_nothing_learns_where_nothing_shall(tmp_path):
    model = {"name": "monai/unet", "options": SMALL["monai/unet"], "adapter": None}
    with pytest.warns(RuntimeWarning, match="monai/unet is made anew .* set model.learns to all"):
        run(config_from(values("monai/unet", tmp_path / "run", model=model)))
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_what_a_run_has_learnt_without_an_adapter_is_what_transfer_takes(tmp_path):
    model = {"name": "monai/unet", "options": SMALL["monai/unet"], "adapter": None}
    asis = config_from(values("monai/unet", tmp_path / "as it is", model=model))
    assert model_of(asis, tmp_path / "as it is", silent).options == SMALL["monai/unet"]
    learnt = config_from(values("monai/unet", tmp_path / "run", model=model | {"learns": "all"}))
    with pytest.raises(ValueError, match="has no trained model yet"):
        model_of(learnt, tmp_path / "run", silent)
    train_only(learnt)
    assert not model_of(learnt, tmp_path / "run", silent).fresh


@pytest.mark.parametrize(
    ("model", "trains"),
    [
        ({}, True),
        ({"adapter": None}, False),
        ({"adapter": None, "learns": "all"}, True),
        ({"learns": "nothing"}, False),
    ],
)
def test_what_trains_is_known_before_anything_is_loaded(model, trains, tmp_path):
    config = config_from(values("x", tmp_path, model={"name": "monai/unet", **model}))
    assert config.model.trains is trains


def test_cards_are_printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["models", "monai/unet", "--options", "channels", "[4, 8]", "strides", "[2]"])
    printed = capsys.readouterr().out
    assert "monai/unet" in printed
    assert "multiples of 2" in printed
    assert "drawn at random" in printed


def test_checks_are_printed_and_a_failure_is_an_error(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "mine.py").write_text(
        OWN + "\ndef dead():\n    return lambda x: x[:, :1].detach() - 0.5\n"
    )
    main(["models", "check", f"{tmp_path / 'mine.py'}:make", "--size", "32"])
    assert "fail" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match="cannot be attacked reliably"):
        main(["models", "check", f"{tmp_path / 'mine.py'}:dead", "--size", "32"])
    assert "gradient reaches the pixels" in capsys.readouterr().out
