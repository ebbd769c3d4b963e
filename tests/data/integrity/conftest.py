"""Data folders with known defects, in the layouts in which they were published."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palpate.data.integrity import Wanted, check_sets
from palpate.data.locate import locate


class Defective:
    """A data folder under construction: smooth random pictures with a bright disc, and its mask."""

    def __init__(self, path: Path) -> None:
        self.path, self.lists = path, {}

    def add(self, split, name, *, like=None, mask=None, within="", text="polyp", group=None):
        """An image of its own, or the picture of another name."""
        picture, disc = scene(like or f"{within}{name}")
        self.save("images", within + name, picture)
        mask = mask or f"{Path(name).stem}.png"
        self.save("masks", within + mask, disc)
        return self.list(split, name, mask, text, group)

    def save(self, kind, name, pixels, **options):
        path = self.path / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return self

    def list(self, split, name, mask=None, text="polyp", group=None):
        entry = {"img_name": name, "mask_name": mask or name, "prompts": {"p1": text}}
        self.lists.setdefault(split, []).append(entry | ({"group": group} if group else {}))
        return self

    def write(self):
        for split, entries in self.lists.items():
            path = self.path / "anns" / f"{split}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(entries))
        return self

    def check(self, **options):
        """The findings of the folder by check, with severity and files."""
        self.write()
        return check_sets([Wanted(*locate(str(self.path)))], **options).sets[0]


def scene(name, size=96):
    """A picture of its own for every name, rough as real ones are, and a disc; the disc alone."""
    rng = np.random.default_rng(list(name.encode()))
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    orders = np.arange(16)
    across, down = (np.cos(np.pi * orders[:, None, None] * axis) for axis in (x, y))
    strength = rng.normal(size=(16, 16)) / (1 + orders[:, None] + orders) ** 0.8
    waves = np.einsum("ab,ahw,bhw->hw", strength, across, down)
    middle = rng.uniform(0.3, 0.7, 2)
    disc = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < 0.03
    grey = 120 + 25 * waves + 10 * disc
    picture = np.stack([grey, grey * 0.8, grey * 0.7], -1).clip(0, 255).astype(np.uint8)
    return picture, disc.astype(np.uint8) * 255


@pytest.fixture
def folder(tmp_path):
    """A sound data set of three images a split."""
    made = Defective(tmp_path / "set")
    for split in ("train", "val", "test"):
        for number in range(3):
            made.add(split, f"{split}-{number}.png")
    return made


@pytest.fixture
def another(tmp_path):
    """A second folder, empty yet."""
    return lambda name: Defective(tmp_path / name)
