"""What the values of masks mean, in recipes and on the command line."""

import numpy as np
import pytest
from PIL import Image

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


def test_the_command_line_names_them_as_well(folders):
    words = ["--model.name", "palpate/tiny", "--data.name", "pairs"]
    words += ["--data.images", str(folders["images"]), "--data.masks", str(folders["masks"])]
    words += ["--data.mask.values", "255=tumour", "127=liver", "--data.mask.ignore", "1"]
    (config,) = configs_of("run", words).values()
    assert [structure.name for structure in config.data.mask.structures] == ["tumour", "liver"]
    assert config.data.mask.ignore == ("1",)
    assert DataConfig().mask.values == ()
