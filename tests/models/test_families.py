"""How a name becomes a family, and what belongs to none."""

import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch
from torch import nn

from palpate.models import FAMILIES, PixelModel, find_family, load_model, save_checkpoint
from palpate.models.families import known_names

from .small import SMALL


def test_names_belong_to_one_family_each():
    names = known_names()
    assert len(names) == len(set(names))
    assert {"palpate/tiny", "pranet", "monai/unet"} <= set(names)
    for name in names:
        assert sum(family.knows(name) for family in FAMILIES.values()) == 1


def test_every_small_model_is_a_pixel_model_with_its_name():
    for name, options in SMALL.items():
        model = load_model(name, options=options)
        assert isinstance(model, PixelModel)
        assert model.name == name
        assert not model.training
        assert find_family(name)[1] is None


def test_a_folder_is_told_by_its_configuration(clipseg):
    assert find_family(str(clipseg)) == ("clipseg", clipseg)


def test_a_file_of_tensors_that_nobody_knows_is_refused(tmp_path):
    torch.save({"a.weight": torch.ones(2)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth cannot be loaded.*got tensors called a"):
        load_model(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no weights", b"\x80\x05x."])
def test_a_file_that_is_no_weights_at_all_is_refused(content, tmp_path):
    for name in ("x.pth", "x.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot be read as plain tensors") as caught:
            load_model(tmp_path / name)
        assert "weights_only" not in str(caught.value)


def test_a_clipseg_has_no_such_option(clipseg):
    with pytest.raises(ValueError, match="among size, example, mask, highlight, got 'width'"):
        load_model(clipseg, options={"width": 3})


@pytest.mark.parametrize("name", ["pranet", "monai/unet"])
def test_a_checkpoint_brings_sizes_weights_and_statistics(name, tmp_path):
    model = load_model(name, options=SMALL[name], seed=3)
    model.learn("all")
    model.train()
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        model(images)  # moves batch statistics, where there are any
        for p in model.net.parameters():
            p.add_(0.01)
    save_checkpoint(model.eval(), tmp_path)
    again = load_model(tmp_path)
    assert again(images).equal(model(images))
    assert (again.name, again.fresh) == (name, False)
    assert any(p.requires_grad for p in again.parameters())


class Net(nn.Module):
    def __init__(
        self, encoder_name="resnet34", encoder_weights="imagenet", in_channels=3, classes=1
    ):
        super().__init__()
        self.made_of = encoder_name, encoder_weights
        self.encoder = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.head = nn.Conv2d(4, classes, 1)

    def forward(self, pixels):
        return self.head(self.encoder(pixels))


def test_without_the_package_its_networks_say_what_to_install():
    if find_spec("segmentation_models_pytorch"):
        pytest.skip("segmentation_models_pytorch is installed")
    with pytest.raises(ValueError, match="pip install segmentation_models_pytorch timm"):
        load_model("smp/unet")


def test_a_network_of_the_package_is_found_by_name(monkeypatch):
    package = ModuleType("segmentation_models_pytorch")
    package.Unet = Net
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", package)
    model = load_model("smp/unet", options={"encoder_name": "resnet18"})
    assert model(torch.rand(1, 3, 40, 40)).shape == (1, 1, 40, 40)
    assert model.multiple == 32
    with pytest.raises(ValueError, match=r"no network 'smp/unot'.*Did you mean 'unet'"):
        load_model("smp/unot")
    with pytest.raises(ValueError, match=r"smp/unet cannot be made with .*'depth'"):
        load_model("smp/unet", options={"depth": 3})
