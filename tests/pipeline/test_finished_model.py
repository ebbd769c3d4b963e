"""`palpate evaluate MODEL --images DIR --masks DIR`: a finished model on a folder of one's own."""

import json
import re
import shutil

import pytest
from PIL import Image

from palpate.cli import main
from palpate.evaluation import read_rows
from palpate.pipeline.recipe.demo import OwnData
from palpate.pipeline.recipe.reading import read_config
from palpate.pipeline.run.finished_model import finished_model_config

NET = """
import torch
from torch import nn

def make():
    net = nn.Conv2d(3, 1, 3, padding=1)
    nn.init.constant_(net.weight, 0.5)
    nn.init.constant_(net.bias, -6.0)
    return net
"""


@pytest.fixture
def own(data_root, tmp_path, monkeypatch):
    """Four images with masks, one of them empty, and the code of a network."""
    monkeypatch.chdir(tmp_path)
    for kind in ("images", "masks"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
        for number in range(4):
            shutil.copy(data_root / kind / f"train{number}.png", tmp_path / "mine" / kind)
    Image.new("L", (32, 32)).save(tmp_path / "mine" / "masks" / "train3.png")
    (tmp_path / "net.py").write_text(NET)
    return ["--images", "mine/images", "--masks", "mine/masks", "--size", "32"]


def test_a_finished_model_is_attacked_on_all_images(own, tmp_path, capsys):
    words = ["evaluate", "net.py:make", *own, "--attacks", "fgsm", "--epsilon-255", "8/255"]
    main([*words, "--json"])
    printed = capsys.readouterr()
    scores = json.loads(printed.out)
    counts = {line["structure"]: line["n"] for line in scores["scores"]}
    assert counts == {"foreground": 3, "no foreground": 1}
    assert all(line["dsc"] is not None for line in scores["scores"])
    assert "on all images of" in printed.err
    run = tmp_path / "runs" / "net-mine"
    assert scores["page"] == "runs/net-mine/report/index.html"
    assert (run / "report" / "index.html").is_file()
    rows = read_rows(run / "rows")
    assert set(rows["split"]) == {"all"}
    assert set(rows["dataset"]) == {"mine"}  # the name of the folder
    assert read_config(run / "config.yaml").evaluate.epsilon_255 == (8.0,)


def test_a_model_that_reads_a_prompt_says_that_it_needs_one(own, clipseg, tmp_path):
    with pytest.raises(SystemExit, match="Expected a prompt that names"):
        main(["evaluate", str(clipseg), *own])
    assert not (tmp_path / "runs").exists()


def test_a_missing_folder_is_found_before_anything_is_announced(own, tmp_path, capsys):
    with pytest.raises(SystemExit, match="nowhere"):
        main(["evaluate", "net.py:make", "--images", "nowhere", "--masks", "mine/masks"])
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"palpate evaluate MODEL --images DIR --masks DIR\), or a run .*got neither"),
        (["net.py:make", "--images", "a"], "got the model net.py:make, --images"),
        (["net.py:make", "--run", "x"], "beside --run, .* got the model net.py:make"),
        (["--run", "x", "--split", "all"], "beside --run, .* got --split"),
    ],
)
def test_what_is_missing_or_too_much_is_said(words, message, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", *words])
    assert re.search(message, capsys.readouterr().err)


def test_the_model_of_a_run_keeps_its_code(tmp_path):
    run = tmp_path / "trained"
    (run / "checkpoint").mkdir(parents=True)
    (run / "config.yaml").write_text("model: {name: 'net.py:make', learns: all}")
    own = OwnData(tmp_path / "images", tmp_path / "masks")
    with pytest.raises(ValueError, match="has no trained model yet"):
        finished_model_config(str(run), own, options={}, changes={}, data={})
    (run / "checkpoint" / "palpate.json").write_text("{}")
    config = finished_model_config(str(run), own, options={}, changes={}, data={})
    assert config.model.name == str(run / "checkpoint")
    assert config.model.options == {"base": "net.py:make"}
    assert not config.model.trains
    assert config.evaluate.split == "all"
