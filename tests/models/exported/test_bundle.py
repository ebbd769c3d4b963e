"""MONAI bundles: their network with their weights, and none of their code."""

import json

import pytest
import torch
from monai.networks.nets import UNet

from palpate import load_model
from palpate.models.families import find_family

from .networks import IMAGES, luma, net

NETWORK = {
    "_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 1,
    "channels": "@depth", "strides": [2],
}  # fmt: skip
FORMAT = {
    "inputs": {"image": {"num_channels": 1, "spatial_shape": ["*", "*"], "value_range": [0, 255]}},
    "outputs": {"pred": {"num_channels": 1, "channel_def": {"0": "heart"}}},
}


def unet(outside=1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet(2, 1, outside, (4, 8), (2,)).eval()


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "heart"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    torch.save({"model": unet().state_dict()}, folder / "models" / "model.pt")
    write(folder, "inference", {"depth": [4, 8], "network_def": NETWORK})
    write(folder, "metadata", {"name": "Heart", "network_data_format": FORMAT})
    return folder


def write(folder, name, values):
    (folder / "configs" / f"{name}.json").write_text(json.dumps(values))


def test_the_network_gets_what_the_metadata_say(bundle):
    model = load_model(bundle)
    assert find_family(str(bundle)) == ("monai-bundle", bundle)
    assert model.multiple == 2
    torch.testing.assert_close(model(IMAGES), unet()(255 * luma()), atol=1e-3, rtol=1e-4)


def test_several_structures_are_classes_by_the_names_of_the_metadata(bundle):
    torch.save(unet(3).state_dict(), bundle / "models" / "model.pt")
    answer = {"pred": {"num_channels": 3, "channel_def": {"0": "background", "1": "LV", "2": "RV"}}}
    form = {**FORMAT, "outputs": answer}
    write(bundle, "metadata", {"network_data_format": form})
    write(bundle, "inference", {"depth": [4, 8], "network_def": {**NETWORK, "out_channels": 3}})
    model = load_model(bundle)
    assert model.reading.classes == {"lv": 1, "rv": 2}
    assert model(IMAGES, ["the LV"] * 3).shape == (3, 1, 32, 40)


@pytest.mark.parametrize(
    "config",
    [
        {"depth": "$[4, 8, open('harmed', 'w')][:2]", "network_def": NETWORK},
        {"depth": [4, 8], "network_def": {**NETWORK, "_target_": "scripts.Net"}},
        {"depth": {"_target_": "os.mkdir", "path": "harmed"}, "network_def": NETWORK},
    ],
)
def test_code_in_a_bundle_is_refused(config, bundle, monkeypatch):
    monkeypatch.chdir(bundle)
    write(bundle, "inference", config)
    with pytest.raises(ValueError, match=r"wants to run code: its network needs .*--trust-code"):
        load_model(bundle)
    assert not (bundle / "harmed").exists()


def test_code_that_the_network_does_not_need_is_not_run(bundle, monkeypatch):
    monkeypatch.chdir(bundle)
    other = {"imports": ["$open('harmed', 'w')"], "device": "$open('harmed', 'w')"}
    write(bundle, "inference", {"depth": [4, 8], "network_def": NETWORK, **other})
    load_model(bundle)
    assert not (bundle / "harmed").exists()


def test_an_expression_is_computed_in_a_bundle_that_is_trusted(bundle):
    write(bundle, "inference", {"depth": "$[4, 4 + 4]", "network_def": NETWORK})
    assert load_model(bundle, trust_code=True)(IMAGES).shape == (3, 1, 32, 40)


def test_intensity_transforms_are_told(bundle):
    steps = {"_target_": "Compose", "transforms": [{"_target_": "NormalizeIntensityd"}]}
    write(bundle, "inference", {"depth": [4, 8], "network_def": NETWORK, "preprocessing": steps})
    with pytest.warns(
        RuntimeWarning, match=r"NormalizeIntensityd, which palpate does not run.*255"
    ):
        load_model(bundle)
    load_model(bundle, options={"mean": [0.4], "std": [0.2]})


def test_what_is_missing_or_does_not_fit_is_said(bundle):
    write(
        bundle,
        "metadata",
        {"network_data_format": {"inputs": {"image": {"spatial_shape": [8] * 3}}}},
    )
    with pytest.raises(ValueError, match="Expected a bundle for 2-D images"):
        load_model(bundle)
    (bundle / "configs" / "metadata.json").unlink()
    torch.save(net().state_dict(), bundle / "models" / "model.pt")
    with pytest.raises(ValueError, match=r"do not fit its configuration: \d+ tensors are missing"):
        load_model(bundle)
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no weights: expected one of model\.pt"):
        load_model(bundle)
