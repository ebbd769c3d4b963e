"""Models that people bring along go through fine-tune, attack and report in every set-up."""

import json
import shutil

import pytest

from palpate.evaluation import read_rows
from palpate.models import build_cris, load_model
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import run, train_only

from ..models import tiny, tiny_biomedclip, tiny_cris
from ..models.promptable import tiny_networks
from .test_families import values


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A directory of each family as its authors or Hugging Face would leave it."""
    root = tmp_path_factory.mktemp("brought")
    made = {name: root / name for name in ("clipseg", "cris", "biomedclip", "sam2", "hq", "sam3")}
    vocabulary = tiny.write_tokenizer(made["clipseg"])
    tiny.hugging_face(tiny.config(vocabulary)).save_pretrained(made["clipseg"])
    build_cris(made["clipseg"], made["cris"], tiny_cris.config(vocabulary), seed=1)
    state = tiny_biomedclip.published_names(*tiny_biomedclip.reference())
    tiny_biomedclip.write(made["biomedclip"], state)
    tiny_networks.sam2().save_pretrained(made["sam2"])
    tiny_networks.sam("HQ").save_pretrained(made["hq"])
    tiny.write_tokenizer(made["sam3"])
    tiny_networks.sam3(vocabulary).save_pretrained(made["sam3"])
    return made


@pytest.fixture(scope="module")
def grounded(folders, tmp_path_factory):
    """The options that name the two halves of Grounding DINO and SAM."""
    detector = tmp_path_factory.mktemp("detector")
    tiny_networks.grounding_dino().save_pretrained(detector)
    tiny_networks.write_words(detector)
    return {"detector": str(detector), "segmenter": str(folders["sam2"])}


PUBLISHED = {"compat": "medvlsm"}
SET_UPS = {
    "clipseg, shallow adapters": ("clipseg", {"adapter": "shallow-vlc"}),
    "clipseg, adapters and decoder": ("clipseg", {"adapter": "dense-v", "learns": "decoder"}),
    "clipseg, telescopic": ("clipseg", {"adapter": "telescopic-vl", "width": 8}),
    "clipseg, LoRA": ("clipseg", {"adapter": "lora-vl", "width": 2}),
    "clipseg, decoder": ("clipseg", {"adapter": None, "learns": "decoder"}),
    "clipseg, end to end": ("clipseg", {"adapter": None, "learns": "all"}),
    "clipseg, zero-shot": ("clipseg", {"adapter": None}),
    "cris": ("cris", {"learns": "all"}),
    "biomedclip": ("biomedclip", {"adapter": "dense-vl", "learns": "decoder"}),
    "biomedclip, published": ("biomedclip", {"learns": "decoder", "options": PUBLISHED}),
    "sam2": ("sam2", {"learns": "decoder"}),
    "hq-sam": ("hq", {"learns": "decoder"}),
    "sam3": ("sam3", {"learns": "all"}),
}  # fmt: skip


def pressed(model, out):
    """Rows of a run on phantoms, and the model that it leaves."""
    page = run(config_from(values("x", out, model=model)))
    assert page.is_file()
    rows = read_rows(out / "rows")
    assert rows.groupby("attack").size().to_dict() == {"clean": 2, "noise": 2, "pgd": 2}
    attacked = rows[rows["attack"] == "pgd"]
    assert (attacked["loss"] > attacked["loss_clean"]).all()
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(("family", "settings"), SET_UPS.values(), ids=SET_UPS)
def test_each_is_trained_attacked_and_reported(family, settings, folders, tmp_path):
    model = {"name": str(folders[family]), "adapter": None} | settings
    pressed(model, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint"
    trains = bool(settings.get("adapter") or settings.get("learns"))
    assert checkpoint.exists() is trains
    if trains:
        card = json.loads((checkpoint / "palpate.json").read_text())
        assert card["adapter"] == model["adapter"]
        load_model(checkpoint)


@pytest.mark.slow
def test_a_detector_and_a_segmenter_are_one_model(grounded, tmp_path):
    model = {"name": "grounded-sam", "adapter": None, "learns": "nothing", "options": grounded}
    pressed(model, tmp_path / "run")


def test_a_base_that_has_gone_is_named(clipseg, tmp_path):
    base = shutil.copytree(clipseg, tmp_path / "base")
    model = {"name": str(base), "adapter": "dense-v"}
    train_only(config_from(values("x", tmp_path / "run", model=model)))
    shutil.rmtree(base)
    with pytest.raises(FileNotFoundError, match="base"):
        load_model(tmp_path / "run" / "checkpoint")
