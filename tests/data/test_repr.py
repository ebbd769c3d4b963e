"""What a user sees who types the name of a data set or an entry."""

import numpy as np
import pytest

from palpate.data import cached, from_hugging_face, from_samples, load_data, load_pairs
from palpate.data.sample import Case, Sample, collate
from palpate.data.sources.pool import merge, pool

from .conftest import noise, rectangle, save


def one_line(shown):
    assert len(shown) < 300
    assert "\n" not in shown
    return shown


def test_a_folder_tells_name_split_counts_structures_and_size(data_folder):
    data = load_data("folder", data_folder.write().path, size=16)
    assert one_line(repr(data)) == (
        "<PromptedDataset 'folder', split 'test': 2 samples of 2 images and 2 patients or groups, "
        "16 x 16 pixels; structures: foreground>"
    )


def test_no_image_is_read_for_it(data_folder):
    data = load_data("folder", data_folder.write().path)
    (data_folder.path / "images" / "a.png").unlink()
    assert "own size" in repr(data)


def test_structures_and_levels_count_samples_and_not_images():
    data = load_data("phantom-echo", size=32, limit=6, prompt="all")
    told = one_line(repr(data))
    assert f"{len(data)} samples of 2 images and 2 patients" in told
    assert "structures: left ventricle, myocardium, left atrium>" in told


def test_many_structures_are_cut_short():
    samples = [
        {
            "image": noise((8, 8)),
            "mask": rectangle((8, 8)),
            "prompts": "x",
            "structure": f"organ {n}",
        }
        for n in range(9)
    ]
    told = one_line(repr(from_samples(samples, name="mine")))
    assert told.startswith("<PromptedDataset 'mine', split 'test': 9 samples of 9 images")
    assert told.endswith("structures: organ 0, organ 1, organ 2, organ 3, ...>")


def test_pairs(tmp_path):
    for n in range(4):
        save(tmp_path / "images" / f"{n}.png", noise((8, 8), n))
        save(tmp_path / "masks" / f"{n}.png", rectangle((8, 8)))
    data = load_pairs(tmp_path / "images", tmp_path / "masks", prompt="polyp", split="train")
    assert one_line(repr(data)).startswith("<PromptedDataset 'pairs', split 'train': ")


def test_hugging_face():
    datasets = pytest.importorskip("datasets")
    rows = {"image": [noise((8, 8))], "mask": [rectangle((8, 8))], "text": ["polyp"]}
    features = datasets.Features(
        {"image": datasets.Image(), "mask": datasets.Image(), "text": datasets.Value("string")}
    )
    data = from_hugging_face(datasets.Dataset.from_dict(rows, features=features))
    assert "1 samples of 1 images" in one_line(repr(data))


def test_pools_name_their_parts():
    parts = [load_data(name, size=32, limit=1) for name in ("phantom-echo", "phantom-endoscopy")]
    assert "'phantom-echo+phantom-endoscopy'" in one_line(repr(pool(parts)))
    assert "2 samples of 2 images" in repr(pool(parts))
    assert one_line(repr(merge(parts, "both"))).startswith("<PromptedDataset 'both'")


def test_entries_tell_their_key_and_levels(data_folder, tmp_path):
    data = load_data("folder", data_folder.write().path)
    assert repr(data.entries[0]) == "<FileEntry 'a', prompts: p0, p1, p2, p3>"
    kept = cached(data, tmp_path / "cache").entries[0]
    assert repr(kept) == "<CachedEntry 'a', prompts: p0, p1, p2, p3>"
    phantom = load_data("phantom-echo", size=32, limit=1).entries[0]
    assert one_line(repr(phantom)).startswith(f"<PhantomEntry {phantom.key!r}, prompts: p0, ")
    image, mask = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool)
    own = from_samples([{"image": image, "mask": mask, "prompts": "polyp", "key": "k"}]).entries[0]
    assert one_line(repr(own)) == f"<{type(own).__name__} 'k', prompts: p1>"


def test_samples_and_batches_are_a_line_each(images, masks):
    cases = [
        Case(f"a{i}", "mine", "test", f"{i}.png", "polyp", f"{i}", "a polyp", "p1")
        for i in range(4)
    ]
    samples = [
        Sample(case, image, mask) for case, image, mask in zip(cases, images, masks, strict=True)
    ]
    assert one_line(repr(samples[0])).startswith("Sample('a0', 8 x 8 px, ")
    assert one_line(repr(collate(samples))) == "Batch(4 samples of 8 x 8 px: 'a0', 'a1', 'a2', ...)"
