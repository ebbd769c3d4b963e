import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from palpate.randomness import seeded

from ..models import tiny
from .runs import STEPS, Stopped, tune

SIDE = 32
PROMPTS = {
    "p0": "",
    "p1": "polyp",
    "p2": ["a round polyp", "one circular and rather long-worded polyp"],
    "p3": ["pink skin", "skin"],
}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny CLIPSeg with its tokenizer; nobody may change it."""
    from palpate.atomic import write_text
    from palpate.models.clip.config import ClipSegConfig, TextConfig, VisionConfig
    from palpate.models.clipseg.clipseg import CLIPSeg
    from palpate.models.files.weights import write_weights

    folder = tmp_path_factory.mktemp("model")
    vocabulary = tiny.write_tokenizer(folder)
    sizes = {"num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    config = ClipSegConfig(
        VisionConfig(hidden_size=24, image_size=SIDE, patch_size=16, **sizes),
        TextConfig(vocab_size=vocabulary, hidden_size=16, eos_token_id=vocabulary - 1, **sizes),
        projection_dim=16,
        extract_layers=(1, 2, 3),
        reduce_dim=8,
        decoder_intermediate_size=16,
    )
    with seeded(0):
        net = CLIPSeg(config)
        for table in (m for m in net.modules() if isinstance(m, torch.nn.Embedding)):
            torch.nn.init.normal_(table.weight, std=0.5)
    write_weights(net.state_dict(), folder / "model.safetensors")
    write_text(folder / "config.json", json.dumps(config.to_hf()))
    return folder


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """Ten training and four validation images: a bright rectangle on noise."""
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for folder in ("images", "masks", "anns"):
        (root / folder).mkdir()
    for split, count in (("train", 10), ("val", 4)):
        entries = []
        for number in range(count):
            name = f"{split}{number}.png"
            draw(root, name, generator)
            entries.append({"img_name": name, "mask_name": name, "prompts": PROMPTS})
        (root / "anns" / f"{split}.json").write_text(json.dumps(entries))
    return root


def draw(root, name, generator):
    top, left = generator.integers(0, SIDE // 2, 2)
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[top : top + SIDE // 2, left : left + SIDE // 2] = 255
    noise = generator.integers(0, 128, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(mask).save(root / "masks" / name)
    Image.fromarray(noise + (mask // 2)[..., None]).save(root / "images" / name)


@pytest.fixture(scope="session")
def train_data(data_root):
    from palpate.data import load_data

    return load_data("folder", data_root, split="train", size=SIDE, check=False)


@pytest.fixture(scope="session")
def val_data(data_root):
    from palpate.data import load_data

    return load_data("folder", data_root, split="val", size=SIDE, check=False)


@pytest.fixture(scope="session")
def stopped_once(model_folder, train_data, val_data, tmp_path_factory):
    """Folder of a training that was stopped in its second epoch; nobody may change it."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Stopped):
        tune(model_folder, train_data, val_data, folder, stop_after=STEPS + 1)
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of a training that was stopped in its second epoch."""
    return shutil.copytree(stopped_once, tmp_path / "stopped")
