import functools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palpate.data import load_data

PROMPTS = {"p0": "", "p1": "polyp", "p2": ["round polyp", "circular polyp"], "p3": "pink polyp"}


class DataFolder:
    """A data folder under construction; images are noise, masks have one rectangle."""

    def __init__(self, path: Path) -> None:
        self.path, self.entries = path, []
        for name in ("images", "masks", "anns"):
            (path / name).mkdir(parents=True)

    def add(self, image_name, mask_name=None, *, size=(12, 8), prompts=None, files=True):
        mask_name = mask_name or image_name
        prompts = PROMPTS if prompts is None else prompts
        self.entries.append({"img_name": image_name, "mask_name": mask_name, "prompts": prompts})
        if files:
            save(self.path / "images" / image_name, noise(size, seed=len(self.entries)))
            save(self.path / "masks" / mask_name, rectangle(size))
        return self

    def write(self, split="test"):
        (self.path / "anns" / f"{split}.json").write_text(json.dumps(self.entries))
        return self


def noise(size, seed=0):
    """RGB, ``size`` is (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def rectangle(size):
    """Foreground in the upper left, so that every turn shows."""
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    mask[: size[1] // 2, : size[0] // 3] = 255
    return Image.fromarray(mask)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def data_folder(tmp_path):
    """Two entries, not written yet."""
    return DataFolder(tmp_path / "set").add("a.png").add("b.png")


@pytest.fixture(scope="session")
def real_cases(real_root):
    """The cases of a split of a real data set; no image is opened."""
    return functools.cache(
        lambda name, split: load_data(name, real_root, split=split, check=False).cases
    )
