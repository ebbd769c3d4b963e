"""MONAI's networks under their names, at tiny sizes and at their stated ones."""

import pytest
import torch

from palpate.models import load_model
from palpate.models.wrap.monai import NETWORKS

from .small import SMALL

STATED = {
    "monai/unet": 6_495_868,
    "monai/attention-unet": 7_940_321,
    "monai/segresnet": 6_299_073,
    "monai/swin-unetr": 6_302_875,
    "monai/flexible-unet": 7_060_277,
}


def test_there_is_a_tiny_one_of_each():
    assert {name for name in SMALL if name.startswith("monai/")} == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_takes_any_image_and_gives_a_gradient_for_every_pixel(name):
    model = load_model(name, options=SMALL[name])
    images = torch.rand(2, 3, 30, 41, requires_grad=True)
    logits = model(images, ["polyp", "skin"])
    assert logits.shape == (2, 1, 30, 41)
    logits.square().sum().backward()
    assert (images.grad != 0).flatten(1).any(1).all()
    assert model.fresh
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_default_sizes_are_the_stated_ones(name):
    net = load_model(name).net
    assert sum(p.numel() for p in net.parameters()) == STATED[name]


def test_is_the_network_that_monai_makes():
    from monai.networks.nets import UNet

    torch.manual_seed(5)
    theirs = UNet(
        spatial_dims=2, in_channels=3, out_channels=1, channels=(4, 8), strides=(2,),
        num_res_units=1,
    ).eval()  # fmt: skip
    model = load_model(
        "monai/unet", options={"channels": [4, 8], "strides": [2], "num_res_units": 1}, seed=5
    )
    images = torch.rand(1, 3, 32, 32)
    assert model(images).equal(theirs((images - model.mean) / model.std))


def test_deeper_networks_get_larger_multiples():
    options = {"channels": [2, 2, 2, 2, 2, 2], "strides": [2] * 5}
    assert load_model("monai/unet", options=options).multiple == 32
    assert load_model("monai/unet", options=SMALL["monai/unet"]).multiple == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chanels": [4]}, r"monai/unet has no option 'chanels'.*Did you mean 'channels'"),
        ({"out_channels": 4}, "no option 'out_channels'"),
        ({"strides": [2]}, r"monai/unet cannot be made with .*strides"),
        ({"input_size": 33}, "multiple of 4, got 33"),
    ],
)
def test_options_that_make_no_network_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load_model("monai/unet", options=SMALL["monai/unet"] | options)


def test_a_mistyped_name_is_guessed():
    with pytest.raises(FileNotFoundError, match="Did you mean 'monai/unet'"):
        load_model("./monai/unett")


def test_an_image_that_is_too_small_for_the_network_is_called_that():
    model = load_model("monai/unet", options={**SMALL["monai/unet"], "num_res_units": 2})
    assert model(torch.rand(1, 3, 4, 8), ["polyp"]).shape == (1, 1, 4, 8)
    with pytest.raises(ValueError, match=r"monai/unet fails on an input of 4 x 4 pixels: .*than 1"):
        model(torch.rand(1, 3, 3, 4), ["polyp"])


@pytest.mark.parametrize("side", ["64", 30.5, 0])
def test_a_size_that_is_none_is_refused(side, unchecked):
    with pytest.raises(ValueError, match=f"whole number of pixels, got {side!r}"):
        load_model("monai/unet", options={**SMALL["monai/unet"], "input_size": side})
