"""Networks that are called in another way: grey images, channels last, one image, dictionaries."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palpate import load_model, wrap
from palpate.models import query_scores
from palpate.randomness import seeded


def conv(inside, outside=1):
    with seeded(0):
        return nn.Conv2d(inside, outside, 3, padding=1).eval()


class Calls(nn.Module):
    """A convolution that is called as a function says."""

    def __init__(self, function, channels=3):
        super().__init__()
        self.conv, self.function = conv(channels), function

    def forward(self, *given, **named):
        return self.function(self.conv, *given, **named)


def test_a_grey_network_gets_the_luma_and_a_grey_image_stays_as_it_is(pixels):
    net = conv(1)
    model = wrap(net, channels=1, mean=[0.5], std=[0.25])
    red, green, blue = pixels.split(1, dim=1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    torch.testing.assert_close(model(pixels), net((luma - 0.5) / 0.25))
    grey = pixels[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(wrap(net, channels=1)(grey), net(pixels[:, :1]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 2}, r"Expected channels 3 \(RGB\) or 1 \(grey\), got 2"),
        ({"mean": [0.5], "std": [0.5]}, r"Expected mean and std of 3 channels.* set channels=1"),
        ({"layout": "hwc"}, "Expected layout to be one of nchw, nhwc, got 'hwc'"),
        ({"batch": 0}, "Expected a whole batch >= 1 or none, got 0"),
        ({"call": 3}, "Expected call to be a function, got a int"),
        ({"call": "nothing"}, "Expected call as file.py:function"),
    ],
)
def test_settings_that_are_no_way_to_call_are_refused(settings, message, unchecked):
    with pytest.raises(ValueError, match=message):
        wrap(conv(3), **settings)


def test_channels_last_go_in_and_come_out(pixels):
    net = conv(3)
    last = Calls(lambda conv, x: conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    torch.testing.assert_close(wrap(last, layout="nhwc")(pixels), net(pixels))


def test_a_network_for_two_images_gets_two_images(pixels):
    sizes = []

    def two(conv, x):
        sizes.append(len(x))
        return conv(x)

    three = torch.cat([pixels, pixels[:1].flip(3)])
    model = wrap(Calls(two), batch=2)
    torch.testing.assert_close(model(three), conv(3)(three))
    assert sizes == [2, 2]


def test_a_function_may_pass_a_dictionary_and_a_second_input(pixels):
    def reads(conv, batch, spacing):
        return {"seg": conv(batch["image"]) * spacing}

    model = wrap(
        Calls(reads), call=lambda net, x: net({"image": x}, torch.tensor(2.0)), answer="seg"
    )
    torch.testing.assert_close(model(pixels), 2 * conv(3)(pixels))


def test_the_function_of_a_recipe_is_in_a_file_and_belongs_to_the_model(tmp_path, pixels):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def make():\n    return nn.Conv2d(3, 1, 1)\n"
        "def call(net, images):\n    return -net(images)\n"
    )
    name = f"{tmp_path / 'net.py'}:make"
    plain = load_model(name)
    model = load_model(name, options={"call": f"{tmp_path / 'net.py'}:call"})
    torch.testing.assert_close(model(pixels), -plain(pixels))
    assert model.base_hash != plain.base_hash


@dataclass
class Answer:
    logits: Tensor
    aux: Tensor | None = None


def test_a_dataclass_is_read_by_its_fields(pixels):
    model = wrap(Calls(lambda conv, x: Answer(conv(x))), answer="logits")
    torch.testing.assert_close(model(pixels), conv(3)(pixels))
    with pytest.raises(ValueError, match=r"got a dict with 'logits'. Name the element"):
        wrap(Calls(lambda conv, x: Answer(conv(x))))(pixels)


def test_the_scores_of_queries_are_the_sum_of_their_masks_by_class():
    classes = torch.tensor([[[2.0, 0.0, -1.0], [0.0, 3.0, 0.0]]])
    masks = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    scores = query_scores(classes, masks)
    share, inside = classes.softmax(2), masks.sigmoid()
    wanted = share[0, 0, 1] * inside[0, 0] + share[0, 1, 1] * inside[0, 1]
    torch.testing.assert_close(scores[0, 1].exp(), wanted)
    (background, one) = query_scores(classes[:, :, 1:], masks)[0]
    torch.testing.assert_close(background.exp() + one.exp(), torch.ones(4, 4))
    with pytest.raises(ValueError, match=r"Expected class logits \(b, queries, classes \+ 1\)"):
        query_scores(classes[:, :, :1], masks)


def test_a_network_of_queries_is_attacked_through_a_function(pixels):
    class Queries(nn.Module):
        def __init__(self):
            super().__init__()
            self.masks, self.classes = conv(3, 5), nn.Parameter(torch.randn(5, 2))

        def forward(self, pixel_values):
            masks = F.avg_pool2d(self.masks(pixel_values), 4)
            return {"classes": self.classes.expand(len(masks), -1, -1), "masks": masks}

    def call(net, images):
        made = net(pixel_values=images)
        return query_scores(made["classes"], made["masks"])

    model = wrap(Queries(), call=call, out="classes", stride=4)
    points = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(points).sum(), points)
    assert (gradient != 0).flatten(1).any(1).all()


def downsampled(factor):
    def forward(conv, x):
        small = F.max_pool2d(x, factor)
        return conv(x + F.interpolate(small, scale_factor=factor))

    return forward


FAILS = [
    (lambda conv, x: conv(x), 1, "accepts .*: set channels=1"),
    (lambda conv, x: conv(x.permute(0, 3, 1, 2)), 3, "set layout='nhwc'"),
    (lambda conv, x: conv(x.permute(0, 3, 1, 2)), 1, "set channels=1 and layout='nhwc'"),
    (downsampled(16), 3, "set multiple=16"),
    (lambda conv, x: conv(x) + torch.zeros(1, 1, 96, 96), 3, "set input_size=96"),
    (lambda conv, x: conv(x).view(1, 1, *x.shape[2:]), 3, "accepts one image: set batch=1"),
    (lambda conv, x, second: conv(x) + second, 3, r"more than images. .*net\(images, second_input"),
    (lambda conv, x: conv(x["image"]), 3, r"reads a dictionary: .*net\(\{\"image\": images\}\)"),
    (lambda conv, x: conv(x) + torch.zeros(2, 1, 5, 5), 3, "It fails for other sizes.* set call"),
]


@pytest.mark.parametrize(("function", "channels", "advice"), FAILS)
def test_the_advice_fits_the_reason_of_the_failure(function, channels, advice):
    images = torch.rand(2, 3, 36, 44, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        (ValueError, RuntimeError), match=rf"(?s)fails on an input of 36 x 44.*{advice}"
    ):
        wrap(Calls(function, channels))(images)


def test_looking_for_advice_changes_nothing(pixels):
    net = nn.Sequential(conv(1), nn.BatchNorm2d(1)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises((ValueError, RuntimeError), match="set channels=1"):
        wrap(net)(pixels)
    assert all(value.equal(net.state_dict()[name]) for name, value in before.items())
    assert all(part.training for part in net.modules())


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        (lambda conv, x: conv(x).permute(0, 2, 3, 1), "channels are last: set layout='nhwc'"),
        (lambda conv, x: F.avg_pool2d(conv(x), 4), "coarser set stride=4"),
    ],
)
def test_the_advice_fits_the_shape_of_the_answer(function, advice, pixels):
    with pytest.raises(ValueError, match=advice):
        wrap(Calls(function))(pixels)


def test_networks_of_monai_read_grey_images(pixels):
    options = {"in_channels": 1, "channels": [4, 8], "strides": [2], "num_res_units": 0}
    model = load_model("monai/unet", options=options)
    assert model.net.state_dict()["model.0.conv.weight"].shape[1] == 1
    assert model(pixels).shape == (2, 1, 32, 32)
    with pytest.raises(ValueError, match=r"Expected channels 3 \(RGB\) or 1 \(grey\), got 4"):
        load_model("monai/unet", options={"in_channels": 4})


def test_a_device_that_is_not_there_is_one_sentence():
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(
        ValueError, match=r"^PyTorch cannot use the device 'cuda' here; it has cpu\."
    ):
        load_model("palpate/tiny", device="cuda")
