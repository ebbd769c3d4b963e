"""Recipes that train on some data sets and attack others."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from palpate.data.prepare import prepare
from palpate.evaluation import read_rows
from palpate.pipeline.attacks.plan import make_plan
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import run
from palpate.pipeline.stages.preparation import load_splits

from ..data.prepare import official

RECIPE = Path(__file__).parents[2] / "recipes" / "cross-polyp.yaml"
TESTED = ["CVC-300", "CVC-ClinicDB", "CVC-ColonDB", "ETIS-LaribPolypDB", "Kvasir"]


@pytest.fixture
def root(data_root, tmp_path):
    for folder in ("kvasir_polyp", "busi", "isic"):
        shutil.copytree(data_root, tmp_path / folder)
    return tmp_path


def recipe(**data):
    return config_from({"model": {"name": "any"}, "data": data})


def sets(data):
    return list(dict.fromkeys(case.dataset for case in data.cases))


def test_train_on_two_and_attack_a_third(root):
    config = recipe(name="kvasir+busi", test_name="isic", root=root, size=32)
    splits = load_splits(config, make_plan(config))
    assert sets(splits.attacked) == ["isic"]
    assert [sets(data) for data in splits.taught] == [["kvasir", "busi"]] * 2
    assert [len(data) for data in splits.taught] == [16, 8]


def test_what_is_trained_on_is_attacked_by_default(root):
    config = recipe(name="kvasir+busi", root=root, size=32)
    splits = load_splits(config, make_plan(config))
    assert sets(splits.attacked) == ["kvasir", "busi"]


def test_another_division(root):
    lists = root / "busi" / "anns"
    (lists / "mine").mkdir()
    shutil.copy(lists / "val.json", lists / "mine" / "test.json")
    config = config_from(
        {
            "model": {"name": "any", "adapter": None},
            "data": {"name": "busi", "annotations": "mine", "root": root},
        }
    )
    assert len(load_splits(config, make_plan(config)).attacked) == 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "kvasir+buzi"}, "Expected data.name in .* got 'buzi'.*'busi'"),
        ({"test_name": "kvasir+kvasir"}, "each once"),
        ({"test_name": "pairs"}, "Expected data.test_name"),
    ],
)
def test_unknown_sets_are_refused_before_any_work(data, message):
    with pytest.raises(ValueError, match=message):
        recipe(**data)


def test_pranets_protocol_from_its_archives_to_a_table_by_test_set(values, tmp_path):
    official.pranet(tmp_path / "source")
    prepare("pranet", tmp_path / "source", tmp_path / "data", workers=1)
    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["data"] |= {"root": str(tmp_path / "data"), "size": 32, "cache": str(tmp_path / "cache")}
    recipe["model"] |= {"name": values["model"]["name"], "width": 4}
    recipe["train"]["settings"] |= {"epochs": 2}
    recipe["evaluate"] |= {
        "attacks": {"fgsm": {}}, "epsilon_255": [2], "sanity_samples": 0, "examples": 0,
    }  # fmt: skip
    config = config_from(recipe | {"out": str(tmp_path / "run")})
    splits = load_splits(config, make_plan(config))
    assert [sorted(set(sets(data))) for data in splits.taught] == [
        ["CVC-ClinicDB", "Kvasir"], ["CVC-ClinicDB"],
    ]  # fmt: skip
    page = run(config)
    assert sorted(set(read_rows(config.folder / "rows")["dataset"])) == TESTED
    table = pd.read_csv(config.folder / "tables" / "main.csv")
    assert all(table.astype(str).eq(name).any(axis=None) for name in TESTED)
    assert all(name in page.read_text() for name in TESTED)
