"""Models that are asked with boxes go through fine-tune, attack and report on phantoms."""

import json

import pytest

from palpate.cli import main
from palpate.evaluation import read_rows
from palpate.models import load_model
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import run

from ..models.promptable import tiny_networks
from .test_families import values


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam")
    tiny_networks.sam().save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
def test_a_sam_is_trained_attacked_and_reported(sam, tmp_path):
    options = {"margin": 0.05, "jitter": 0.1}
    model = {"name": sam, "learns": "decoder", "adapter": None, "options": options}
    plain = values(sam, tmp_path / "run", model=model)
    plain["evaluate"] |= {
        "sanity_samples": 2,
        "attacks": plain["evaluate"]["attacks"]
        | {"medis-tables": {"targets": ["white"], "losses": ["dice"], "steps": 1, "limit": 2}},
    }
    page = run(config_from(plain))
    assert page.is_file()
    rows = read_rows(tmp_path / "run" / "rows")
    assert rows.groupby("attack").size().to_dict() == {
        "clean": 2, "medis-tables": 2, "noise": 2, "pgd": 2,
    }  # fmt: skip
    assert (
        rows.loc[rows["attack"] == "pgd", "loss"] > rows.loc[rows["attack"] == "pgd", "loss_clean"]
    ).all()
    card = json.loads((tmp_path / "run" / "checkpoint" / "palpate.json").read_text())
    assert card["options"] == options
    assert load_model(tmp_path / "run" / "checkpoint").placing.jitter == 0.1


@pytest.mark.slow
def test_its_card_says_box_and_its_family_is_listed(sam, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    main(["models", sam])
    assert " box " in capsys.readouterr().out
    main(["models", "check", sam, "--size", "48"])
    assert "fail" not in capsys.readouterr().out
