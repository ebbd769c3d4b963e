"""Weights without a network: loaded into the one that base names, or a message with make()."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from palpate import load_model
from palpate.models import save_checkpoint
from palpate.models.families import is_finished

from .networks import IMAGES, luma, net

MAKE = """
from torch import nn
def make(channels=1):
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                         nn.Conv2d(4, 1, 1))
"""


@pytest.fixture
def base(tmp_path):
    (tmp_path / "net.py").write_text(MAKE)
    return f"{tmp_path / 'net.py'}:make"


def prefixed(prefix):
    return {prefix + name: value for name, value in net(1).state_dict().items()}


@pytest.mark.parametrize(
    "content",
    [
        prefixed(""),
        prefixed("module."),  # DataParallel
        {"state_dict": prefixed("model.") | {"loss.weight": torch.ones(2)}, "epoch": 3},
        {"model": prefixed("module.network.")},
        {name: value.double() for name, value in prefixed("").items()},
    ],
)
def test_weights_are_loaded_whatever_surrounds_them(content, base, tmp_path):
    torch.save(content, tmp_path / "w.ckpt")
    model = load_model(tmp_path / "w.ckpt", base=base, options={"channels": 1})
    torch.testing.assert_close(model(IMAGES), net(1)(luma()))
    assert not model.fresh
    assert is_finished(str(tmp_path / "w.ckpt"))


def test_weights_go_into_a_network_of_monai(tmp_path):
    options = {"in_channels": 1, "channels": [4, 8], "strides": [2], "num_res_units": 0}
    fresh = load_model("monai/unet", options=options, seed=3)
    save_file(fresh.net.state_dict(), tmp_path / "w.safetensors")
    model = load_model(tmp_path / "w.safetensors", base="monai/unet", options=options)
    torch.testing.assert_close(model(IMAGES), fresh(IMAGES))
    assert (fresh.fresh, model.fresh) == (True, False)


def test_without_the_network_the_message_has_its_function(tmp_path):
    torch.save(prefixed(""), tmp_path / "w.pth")
    with pytest.raises(
        ValueError, match=r"(?s)convolution reads 1 channels.*def make\(\):.*--options base"
    ):
        load_model(tmp_path / "w.pth")


def test_weights_that_do_not_fit_are_refused(base, tmp_path):
    torch.save(net(3).state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        ValueError, match=r"other shapes .*0.weight: expected \(4, 1, 3, 3\), got \(4, 3"
    ):
        load_model(tmp_path / "w.pth", base=base, options={"channels": 1})
    torch.save(net(1).state_dict() | {"head.weight": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"1 are not expected \(head.weight\)"):
        load_model(tmp_path / "w.pth", base=base)


def test_a_checkpoint_of_such_a_model_is_loaded_again(base, tmp_path):
    torch.save(prefixed(""), tmp_path / "w.pth")
    options = {"channels": 1, "base": base}
    model = load_model(tmp_path / "w.pth", options=options)
    model.learn("all")
    with torch.no_grad():
        model.net[3].bias += 1
    save_checkpoint(model, tmp_path / "checkpoint")
    again = load_model(tmp_path / "checkpoint", base=tmp_path / "w.pth", options=options)
    torch.testing.assert_close(again(IMAGES), model(IMAGES))


def test_a_pickled_network_is_read_only_if_it_is_trusted(tmp_path):
    torch.save(nn.Sequential(nn.Conv2d(1, 1, 1)), tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"Expected a state dict .*, got a whole network.*trust"):
        load_model(tmp_path / "net.pt")
    model = load_model(tmp_path / "net.pt", trust_code=True)
    assert model.calling.channels == 1
    torch.testing.assert_close(model(IMAGES), model.net.net(luma()))
