"""Cached features stand in for the image tower."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from palpate.data import load_data
from palpate.data.sources.pool import pool
from palpate.models import load_model
from palpate.training.features import CachedFeatures, FeatureModel, cache_features
from palpate.training.loop import fit
from palpate.training.train import TrainingImages

from .conftest import SIDE
from .runs import settings


@pytest.fixture
def model(model_folder):
    return load_model(model_folder)


@pytest.fixture
def cached(model, train_data, tmp_path):
    return cache_features(model, train_data, tmp_path / "features", batch_size=4)


def test_cached_features_are_the_computed_ones_in_half_precision(model, train_data, cached):
    assert len(cached) == len(train_data)
    for index in range(len(cached)):
        sample, item = train_data[index], cached[index]
        with torch.no_grad():
            taps = model.net.features(model.to_network(sample.image[None]))
        torch.testing.assert_close(item.inputs, torch.cat(taps), rtol=1e-3, atol=1e-3)
        assert torch.equal(item.masks, sample.mask)
        assert item.prompts == (sample.case.prompt,)


def test_a_model_fed_with_features_says_what_it_says_of_images(model, train_data, cached):
    prompts = tuple(case.prompt for case in train_data.cases[:3])
    with torch.no_grad():
        ours = FeatureModel(model)(torch.stack([cached[i].inputs for i in range(3)]), prompts)
        theirs = model(torch.stack([train_data[i].image for i in range(3)]), prompts)
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)


def test_training_on_features_is_training_on_images(model_folder, train_data, tmp_path):
    def run(wrap, data):
        model = load_model(model_folder)
        model.net.decoder.requires_grad_(True)
        history = fit(
            wrap(model),
            data(model),
            lambda _: {"dsc": 0.0},
            settings(),
            tmp_path / wrap.__name__,
            keep_best=lambda _: None,
            identity="",
        )
        return [row["loss"] for row in history], model.net.decoder.state_dict()

    def identity(model):
        return model

    before = load_model(model_folder).net.decoder.state_dict()
    on_images, images_decoder = run(identity, lambda _: TrainingImages(train_data))
    on_features, features_decoder = run(
        FeatureModel, lambda model: cache_features(model, train_data, tmp_path / "features")
    )
    assert on_features == pytest.approx(on_images, rel=1e-3)
    moved = sum((images_decoder[k] - before[k]).norm() for k in before)
    apart = sum((images_decoder[k] - features_decoder[k]).norm() for k in before)
    assert apart < 0.05 * moved


def test_every_epoch_has_its_own_prompts_but_the_same_features(cached):
    first, second = cached.with_epoch(0), cached.with_epoch(1)
    pairs = [(first[i], second[i]) for i in range(len(cached))]
    assert all(torch.equal(one.inputs, other.inputs) for one, other in pairs)
    assert any(one.prompts != other.prompts for one, other in pairs)


def written(folder):
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}


def test_a_cache_is_computed_once(model, train_data, cached):
    before = written(cached.folder)
    cache_features(model, train_data, cached.folder)
    assert written(cached.folder) == before


def test_another_image_size_weights_or_precision_compute_it_anew(
    model, train_data, cached, data_root
):
    before = written(cached.folder)
    cache_features(model, train_data, cached.folder, precision="bf16")
    changed = written(cached.folder)
    assert changed != before
    model.base_hash = "other"
    cache_features(model, train_data, cached.folder, precision="bf16")
    assert written(cached.folder) != changed
    larger = load_data("folder", data_root, split="train", size=2 * SIDE)
    again = cache_features(model, larger, cached.folder, precision="bf16")
    assert again[0].masks.shape[-1] == 2 * SIDE


def test_an_interrupted_cache_is_computed_anew(model, train_data, cached):
    (cached.folder / "features.json").unlink()
    np.load(cached.folder / "features.npy", mmap_mode="r+")[:] = 0
    again = cache_features(model, train_data, cached.folder)
    assert again[0].inputs.abs().sum() > 0


def test_an_image_with_several_texts_is_computed_once(model, data_root, tmp_path):
    every = load_data("folder", data_root, split="train", size=SIDE, prompt="all", check=False)
    cached = cache_features(model, every, tmp_path)
    assert len(cached) == 40
    assert np.load(tmp_path / "features.npy").shape[0] == 10
    assert torch.equal(cached[0].inputs, cached[3].inputs)
    assert not torch.equal(cached[0].inputs, cached[4].inputs)


def test_several_data_sets_are_cached_as_one(model, train_data, val_data, tmp_path):
    both = pool([train_data, val_data])
    cached = cache_features(model, both, tmp_path, batch_size=3)
    alone = cache_features(model, val_data, tmp_path / "val")
    torch.testing.assert_close(cached[11].inputs, alone[1].inputs, rtol=1e-3, atol=1e-3)
    assert torch.equal(cached[11].masks, val_data[1].mask)


def test_samples_of_another_size_are_refused(model, data_root, tmp_path):
    wrong = load_data("folder", data_root, split="train", size=40, check=False)
    with pytest.raises(ValueError, match=r"input size, 32 x 32 pixels, got 40 x 40.*size=32"):
        cache_features(model, wrong, tmp_path)


def test_a_tower_with_adapters_is_refused(model_folder, train_data, tmp_path):
    with pytest.raises(ValueError, match="without adapters"):
        cache_features(load_model(model_folder, "dense-v"), train_data, tmp_path)


def test_features_too_large_for_half_precision_are_refused(model, train_data, tmp_path):
    with torch.no_grad():
        model.net.clip.vision_model.encoder.layers[1].mlp.fc2.bias.fill_(1e5)
    with pytest.raises(FloatingPointError, match="too large for half precision"):
        cache_features(model, train_data, tmp_path)
    assert not (tmp_path / "features.json").exists()


def resident_mb():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux")
def test_reading_many_features_takes_the_memory_of_one(tmp_path):
    """200 MB on disk, read from first to last."""
    names = [f"{number}.png" for number in range(200)]
    np.lib.format.open_memmap(tmp_path / "features.npy", "w+", np.float16, (200, 1, 1, 2**19))
    np.lib.format.open_memmap(tmp_path / "masks.npy", "w+", np.bool_, (200, 1, 8, 8))
    entries = [{"img_name": n, "mask_name": n, "prompts": {"p1": "polyp"}} for n in names]
    (tmp_path / "anns").mkdir()
    (tmp_path / "anns/train.json").write_text(json.dumps(entries))
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for name in names:
            (tmp_path / kind / name).touch()  # never opened
    data = load_data("folder", tmp_path, split="train", check=False)
    rows = {f"folder/train/{name}": number for number, name in enumerate(names)}
    cached = CachedFeatures(data, tmp_path, rows)
    before = resident_mb()
    for index in range(len(cached)):
        cached[index].inputs.sum()
    assert resident_mb() - before < 64
