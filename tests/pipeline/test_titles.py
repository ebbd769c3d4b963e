"""How a run calls the user's own data."""

import shutil

import pytest

from palpate.cli.recipes import configs_of
from palpate.pipeline.attacks.plan import make_plan
from palpate.pipeline.recipe.demo import OwnData, demo_config
from palpate.pipeline.recipe.reading import config_from, write_config
from palpate.pipeline.stages.preparation import load_splits

MODEL = ["--model.name", "palpate/tiny"]


def pairs(folder):
    return ["--data.name", "pairs", "--data.images", f"{folder}/images", "--data.masks", "masks"]


def only(*words):
    (config,) = configs_of("run", [*MODEL, *words]).values()
    return config


def test_own_data_are_called_by_their_folder_or_as_the_user_says(tmp_path):
    config = only(*pairs(tmp_path / "clinic"))
    assert (config.data.title, str(config.folder)) == ("clinic", "runs/tiny-clinic")
    assert only("--data.name", "folder", "--data.root", "data/polyps").data.title == "polyps"
    assert only(*pairs("clinic"), "--data.title", "our polyps").data.title == "our polyps"
    assert only("--data.name", "phantom-echo").data.title is None


def test_a_recipe_of_own_data_names_them_itself(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {name: palpate/tiny}\ndata: {name: folder}\n")
    (config,) = configs_of("run", ["--config", str(recipe), "--data.root", "polyps"]).values()
    assert config.data.title is None


def test_a_run_that_is_continued_keeps_the_name_of_its_data(tmp_path):
    first = demo_config(own=OwnData(tmp_path / "one", tmp_path, "polyp"), out=tmp_path / "run")
    (tmp_path / "run").mkdir()
    write_config(first, tmp_path / "run" / "config.yaml")
    again = demo_config(own=OwnData(tmp_path / "other", tmp_path, "polyp"), out=tmp_path / "run")
    assert (first.data.title, again.data.title) == ("one", "one")


@pytest.mark.parametrize("name", ["pairs", "folder"])
def test_the_title_stays_where_the_data_go(name, data_root, tmp_path):
    """Rows, their hashes and the digests of the data have it, and not the folder."""
    moved = shutil.copytree(data_root, tmp_path / "elsewhere")
    found = []
    for place in (data_root, moved):
        own = {"images": str(place / "images"), "masks": str(place / "masks")}
        data = (own if name == "pairs" else {"root": str(place)}) | {"override_prompt": "x"}
        values = {"data": {"name": name, "title": "clinic", "size": 32, **data}}
        config = config_from({"model": {"name": "palpate/tiny", "adapter": None}, **values})
        found.append(load_splits(config, make_plan(config)).attacked)
    assert found[0].cases == found[1].cases
    assert {case.dataset for case in found[0].cases} == {"clinic"}
    assert found[0].spec == found[1].spec


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"name": "kvasir", "title": "ours"}, "only with data.name pairs or folder"),
        ({"name": "folder", "title": " "}, "got an empty one"),
    ],
)
def test_a_title_is_for_own_data(data, said):
    with pytest.raises(ValueError, match=said):
        config_from({"model": {"name": "palpate/tiny"}, "data": data})
