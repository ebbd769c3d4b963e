"""PraNet: the published architecture, tensor by tensor, and its weights from a file."""

import hashlib

import pytest
import torch

from palpate.models import load_model
from palpate.models.pranet import PraNet, PraNetSize
from palpate.randomness import seeded

from . import published_pranet

TINY = {"depths": [2, 1, 1, 1], "planes": 8, "channels": 4, "labels": 3, "input_size": 64}
SIZE = PraNetSize(depths=(2, 1, 1, 1), planes=8, channels=4, labels=3)
# Of "name shape" of each tensor of the public implementation, sorted, one a line.
PUBLISHED = "c7d209763dedb783dcc2cb8941dccfdcf23fdeab9b2479ca2e5f29fdeeef9037"


@pytest.fixture(scope="module")
def full():
    with torch.device("meta"):
        return PraNet()


def test_has_the_published_number_of_parameters(full):
    assert sum(p.numel() for p in full.parameters()) == 32_547_319


def test_has_the_published_tensors_by_name_and_shape(full):
    lines = sorted(f"{name} {tuple(value.shape)}" for name, value in full.state_dict().items())
    assert len(lines) == 922
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == PUBLISHED


def test_the_names_a_reader_of_the_paper_looks_for_are_there(full):
    shapes = {name: tuple(value.shape) for name, value in full.state_dict().items()}
    assert shapes["resnet.conv1.6.weight"] == (64, 32, 3, 3)
    assert shapes["resnet.layer1.0.convs.2.weight"] == (26, 26, 3, 3)
    assert shapes["resnet.layer4.0.downsample.1.weight"] == (2048, 1024, 1, 1)
    assert shapes["rfb4_1.branch3.1.conv.weight"] == (32, 32, 1, 7)
    assert shapes["rfb4_1.branch3.2.conv.weight"] == (32, 32, 7, 1)
    assert shapes["agg1.conv5.bias"] == (1,)
    assert shapes["ra4_conv4.conv.weight"] == (256, 256, 5, 5)


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_four_maps_come_at_the_size_of_the_pixels(size):
    maps = PraNet(SIZE).eval()(torch.rand(2, 3, *size))
    assert [tuple(each.shape) for each in maps] == [(2, 1, *size)] * 4


@pytest.mark.reference
def test_maps_equal_the_published_computation():
    with seeded(0), torch.no_grad():
        net, pixels = PraNet(SIZE).eval(), torch.rand(2, 3, 64, 96)
        for name, value in net.state_dict().items():
            if value.dim() == 1 and value.is_floating_point():  # fresh ones hide what is forgotten
                value.add_(torch.rand_like(value) * (0.5 if "var" in name else 0.2))
        theirs = published_pranet.logits(net.state_dict(), pixels, SIZE.depths)
        for ours, wanted in zip(net(pixels), theirs, strict=True):
            scale = wanted.abs().max().item()
            assert scale > 1e-2
            torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-5 * max(1.0, scale))


def test_reverse_attention_shows_a_stage_what_the_map_leaves_out():
    """Where the coarse map is sure of everything, deeper stages see nothing and add a constant."""
    net = PraNet(SIZE).eval()
    with torch.no_grad():
        net.agg1.conv5.bias.fill_(200.0)
        one, other = (torch.rand(1, 3, 64, 64) for _ in range(2))
        added = [net(x)[3] - net(x)[0] for x in (one, other)]
    torch.testing.assert_close(added[0], added[1], atol=1e-3, rtol=0)


def test_the_model_takes_any_image_and_answers_with_the_last_map(pixels):
    model = load_model("pranet", options=TINY)
    images = torch.rand(2, 3, 50, 70)
    maps = model.side_maps(images)
    assert maps.shape == (2, 4, 50, 70)
    assert model(images).equal(maps[:, -1:])
    assert model.sides
    assert not model.text_conditioned
    assert model.fresh


def test_gradients_reach_every_pixel_and_every_parameter_but_the_classifiers():
    model = load_model("pranet", options=TINY)
    model.learn("all")
    images = torch.rand(2, 3, 64, 64).requires_grad_()
    model.train().side_maps(images).square().sum().backward()
    assert (images.grad != 0).any(1).all()
    without = {name for name, p in model.net.named_parameters() if p.grad is None}
    assert without == {"resnet.fc.weight", "resnet.fc.bias"}


def test_a_seed_means_the_same_weights():
    one, same, other = (load_model("pranet", options=TINY, seed=seed) for seed in (1, 1, 2))
    assert one.base_hash == same.base_hash != other.base_hash


def test_the_decoder_learns_without_the_encoder():
    model = load_model("pranet", options=TINY)
    model.learn("decoder")
    learning = {name.split(".")[0] for name, p in model.net.named_parameters() if p.requires_grad}
    assert "resnet" not in learning
    assert {"agg1", "rfb2_1", "ra4_conv1"} <= learning


@pytest.mark.parametrize("kind", ["plain", "wrapped", "parallel", "safetensors", "uncounted"])
def test_published_weights_load_by_key(kind, tmp_path):
    from safetensors.torch import save_file

    net = PraNet(SIZE)
    state = net.state_dict()
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "PraNet-19.pth")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "parallel":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    elif kind == "uncounted":
        torch.save({k: v for k, v in state.items() if "num_batches" not in k}, path)
    else:
        torch.save({"state_dict": state} if kind == "wrapped" else state, path)
    options = {k: v for k, v in TINY.items() if k != "input_size"}
    model = load_model(path, options=options | {"input_size": 64})
    loaded = model.net.state_dict()
    assert all(loaded[name].equal(state[name]) for name in state)
    assert not model.fresh


def test_an_encoders_own_weights_begin_it(tmp_path):
    state = PraNet(SIZE).resnet.state_dict()
    torch.save(state, tmp_path / "res2net.pth")
    model = load_model("pranet", options=TINY | {"encoder": str(tmp_path / "res2net.pth")})
    assert all(model.net.resnet.state_dict()[name].equal(state[name]) for name in state)
    assert model.fresh


def test_weights_that_do_not_fit_list_the_first_ten(tmp_path):
    state = PraNet(SIZE).state_dict()
    lost = sorted(name for name in state if name.startswith("rfb2_1"))
    kept = {k: v for k, v in state.items() if k not in lost} | {"head.weight": torch.ones(1)}
    torch.save(kept, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=f"{len(lost)} tensors are missing") as caught:
        load_model(tmp_path / "w.pth", options=TINY)
    assert all(name in str(caught.value) for name in lost[:10])
    assert lost[10] not in str(caught.value)
    assert "head.weight" in str(caught.value)


def test_weights_of_other_sizes_are_named(tmp_path):
    torch.save(PraNet(SIZE).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"other shapes.*rfb2_1.*expected .* got "):
        load_model(tmp_path / "w.pth", options=TINY | {"channels": 5})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chanels": 3}, r"no option 'chanels'.*Did you mean 'channels'"),
        ({"depths": [1, 2]}, "four depths"),
        ({"planes": 1}, "even number of planes"),
        ({"input_size": 100}, "multiple of 32, got 100"),
        ({"encoder": "nowhere.pth"}, "There is no file nowhere.pth"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message, unchecked):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_model("pranet", options=TINY | options)


def test_adapters_have_no_place():
    with pytest.raises(ValueError, match=r"no places for adapters.*learns all"):
        load_model("pranet", "dense-vl", options=TINY)
