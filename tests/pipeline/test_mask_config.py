"""What the values of masks mean, in recipes and on the command line."""

import json

import numpy as np
import pytest
from PIL import Image

from palpate.cli import main
from palpate.cli.recipes import configs_of
from palpate.data.reading.mask_values import MaskRule
from palpate.data.structures import UnclearMasks
from palpate.pipeline.recipe.config import DataConfig
from palpate.pipeline.recipe.reading import config_from, plain
from palpate.pipeline.stages.preparation import load_attacked

SIDE = 24


@pytest.fixture
def folders(tmp_path):
    """Six images with masks of 0, 127 and 255."""
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[2:12, 2:12], mask[14:22, 14:22] = 127, 255
    for number in range(6):
        for folder, pixels in (("images", mask // 2 + number), ("masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    return {"name": "pairs", "images": tmp_path / "images", "masks": tmp_path / "masks"}


def recipe(data):
    return config_from({"model": {"name": "palpate/tiny"}, "data": data})


def test_a_recipe_names_structures_and_ignored_values(folders):
    config = recipe({**folders, "mask": {"values": {127: "liver", "#ffffff": "tumour"}}})
    assert config.data.mask.values == ("127=liver", "#ffffff=tumour")
    assert {case.prompt for case in load_attacked(config).cases} == {"liver", "tumour"}
    config = recipe({**folders, "override_prompt": "x", "mask": {"values": 127, "ignore": [255]}})
    assert config.data.mask.structures[0].rule == MaskRule((127,), (255,))
    assert load_attacked(config)[0].ignored.any()
    assert config_from(plain(config)) == config


def test_the_error_names_the_settings_of_a_recipe(folders):
    with pytest.raises(
        UnclearMasks, match=r"--data\.mask\.values 127=NAME 255=NAME .* In a recipe"
    ):
        load_attacked(recipe({**folders, "override_prompt": "lesion"}))
    with pytest.raises(ValueError, match="a grey value or palette index"):
        recipe({**folders, "override_prompt": "x", "mask": {"values": ["red"]}})


def test_commands_for_own_images_name_their_own_options(folders, tmp_path):
    paths = ["--images", str(folders["images"]), "--masks", str(folders["masks"])]
    paths += ["--prompt", "x", "--out", str(tmp_path / "out")]
    for command in (["demo"], ["evaluate", "palpate/tiny"]):
        with pytest.raises(SystemExit, match=r" --mask\.values 127=NAME 255=NAME .* out\.$"):
            main([*command, *paths])


def test_data_check_takes_the_values_of_masks(folders, capsys):
    root = folders["images"].parent
    (root / "anns").mkdir()
    names = [{"img_name": f"{n}.png", "mask_name": f"{n}.png"} for n in range(6)]
    entries = [{**each, "prompts": {"p1": "x"}} for each in names]
    (root / "anns" / "test.json").write_text(json.dumps(entries))
    binary = {}
    for words in ([], ["--mask.values", "127=liver", "255=tumour"]):
        with pytest.raises(SystemExit):
            main(["data", "check", str(root), "--json", "-", *words])
        (report,) = json.loads(capsys.readouterr().out)["sets"]
        binary[bool(words)] = [f["message"] for f in report["findings"] if f["check"] == "binary"]
    assert "--mask.values 127=NAME 255=NAME" in binary[False][0]
    assert binary[True] == []


def test_the_command_line_names_them_as_well(folders):
    words = ["--model.name", "palpate/tiny", "--data.name", "pairs"]
    words += ["--data.images", str(folders["images"]), "--data.masks", str(folders["masks"])]
    words += ["--data.mask.values", "255=tumour", "127=liver", "--data.mask.ignore", "1"]
    (config,) = configs_of("run", words).values()
    assert [structure.name for structure in config.data.mask.structures] == ["tumour", "liver"]
    assert config.data.mask.ignore == ("1",)
    assert DataConfig().mask.values == ()
