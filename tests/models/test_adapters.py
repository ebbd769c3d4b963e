"""Adapters: sizes, starting points, and the published form against an implementation apart."""

import pytest
import torch
from torch import nn

from palpate.models import ADAPTERS, adapt, adapter_state, load_model
from palpate.models.clipseg.adapters import Adapter, text_layer
from palpate.models.clipseg.clipseg import CLIPSeg

from . import published, tiny
from .test_clipseg import published as published_config

PROMPTS = ["a polyp", "skin, dark"]
# One of each kind, in as many places as it goes; the others are in fewer of the same places.
QUICK = {"dense-vlc", "shallow-vlc", "telescopic-vlc", "lora-vl"}
TRIED = [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in ADAPTERS]
every_adapter = pytest.mark.parametrize("name", TRIED)
every_module = pytest.mark.parametrize("name", [n for n in TRIED if "lora" not in n.values[0]])

PUBLISHED_COUNTS = {
    "shallow-v": 2_363_136,
    "shallow-vl": 3_939_072,
    "shallow-vlc": 4_201_984,
    "dense-v": 1_784_448,
    "dense-vl": 2_974_464,
    "dense-vlc": 3_237_376,
}
# Sums of 2 d r + r + d over places; width 64 in equal steps over nine blocks is 320 in all.
OUR_COUNTS = {
    "telescopic-v": 2 * (1537 * 320 + 9 * 768),
    "telescopic-vl": 2 * (1537 * 320 + 9 * 768) + 2 * (1025 * 320 + 9 * 512),
    "telescopic-vlc": 997_504 + 665_216 + 262_912,
    "lora-v": 10 * 2 * 8 * (768 + 768),
    "lora-vl": 10 * 2 * 8 * (768 + 768) + 12 * 2 * 8 * (512 + 512),
}


def trainable(module):
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def places(net):
    return [name for name, part in net.named_modules() if isinstance(part, Adapter)]


@pytest.mark.parametrize(("name", "count"), (PUBLISHED_COUNTS | OUR_COUNTS).items())
def test_full_size_trains_as_many_parameters_as_published(name, count):
    with torch.device("meta"):  # sizes without numbers
        net = CLIPSeg(published_config())
        adapt(net, name)
    assert sum(p.numel() for p in trainable(net).values()) == count
    assert trainable(net).keys() == adapter_state(net).keys()


@every_adapter
def test_a_fresh_adapter_changes_nothing(name, clipseg, pixels):
    base, adapted = load_model(clipseg), load_model(clipseg, name)
    with torch.no_grad():
        expected = base(pixels, PROMPTS)
        torch.testing.assert_close(adapted(pixels, PROMPTS), expected, rtol=0, atol=0)


@every_module
def test_a_fresh_published_adapter_does_change_the_model(name, clipseg, pixels):
    base, adapted = load_model(clipseg), load_model(clipseg, name, init="paper")
    with torch.no_grad():
        assert (adapted(pixels, PROMPTS) - base(pixels, PROMPTS)).abs().max() > 1e-3


@pytest.mark.reference
@every_module
def test_published_form_equals_an_implementation_apart(name, hf, clipseg, pixels):
    model = load_model(clipseg, name, init="paper", width=8, seed=3)
    with torch.no_grad():
        theirs = published.logits(
            hf,
            adapter_state(model.net),
            name,
            model.to_network(pixels),
            model.tokenizer(PROMPTS),
        )
        tiny.same(model(pixels, PROMPTS), theirs)


@every_module
def test_gradient_reaches_every_adapter(name, clipseg, pixels):
    model = load_model(clipseg, name, width=8)
    model(pixels, PROMPTS).square().sum().backward()
    reached = {
        place: sum(p.grad.abs().sum() for p in model.net.get_submodule(place).parameters())
        for place in places(model.net)
    }
    assert reached
    assert all(total > 0 for total in reached.values()), reached


@every_module
def test_gradient_reaches_every_published_parameter(name, clipseg, pixels):
    model = load_model(clipseg, name, init="paper", width=8)
    model(pixels, PROMPTS).square().sum().backward()
    assert [n for n, p in trainable(model).items() if not p.grad.abs().sum() > 0] == []


@every_adapter
def test_only_adapters_require_gradient(name, clipseg):
    model = load_model(clipseg, name)
    assert trainable(model.net).keys() == adapter_state(model.net).keys()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dense-v", {"clip.vision_model"}),
        ("dense-vl", {"clip.vision_model", "clip.text_model"}),
        ("dense-vlc", {"clip.vision_model", "clip.text_model", "condition_slot"}),
        ("shallow-v", {"tap_slots.0", "tap_slots.1", "tap_slots.2"}),
    ],
)
def test_adapters_sit_where_their_name_says(name, expected, clipseg):
    found = places(load_model(clipseg, name).net)
    assert {".".join(place.split(".")[:2]) for place in found} == expected
    if name.startswith("dense"):  # below the deepest tap, block 3
        assert {int(p.split(".")[4]) for p in found if "encoder" in p} == {0, 1, 2}


def test_the_adapter_is_a_residual_bottleneck():
    adapter = Adapter(6, 2)
    nn.init.normal_(adapter.up.weight)
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    update = adapter.up(nn.functional.gelu(adapter.down(x)))
    torch.testing.assert_close(adapter(x), x + update)
    adapter.skip = False
    torch.testing.assert_close(adapter(x), update)


def test_the_seed_decides_the_weights_and_leaves_global_randomness_alone(clipseg):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (
        adapter_state(load_model(clipseg, "dense-v", seed=s).net) for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_the_width_can_be_chosen(clipseg):
    model = load_model(clipseg, "dense-vlc", width=5)
    blocks = model.net.clip.vision_model.encoder.layers
    assert blocks[0].after_mlp.down.weight.shape == (5, 48)
    assert model.net.condition_slot.down.weight.shape == (256, 32)  # not the tower's business


def test_text_layers_are_taken_at_the_same_relative_depth(vocabulary, tmp_path):
    configuration = tiny.config(vocabulary, text={"num_hidden_layers": 2})
    tiny.hugging_face(configuration).save_pretrained(tmp_path)
    net = load_model(tmp_path, "shallow-vl").net
    assert [text_layer(tap, net) for tap in (1, 2, 3)] == [0, 0, 1]
    assert list(net.text_slots) == ["0", "1"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"adapter": "dense"}, "Expected an adapter of dense-v, .*got 'dense'"),
        ({"adapter": "dense-v", "init": "zero"}, "init to be one of identity, paper, got 'zero'"),
        ({"adapter": "dense-v", "width": 0}, "adapter width >= 1, got 0"),
        ({"adapter": "lora-v", "init": "paper"}, "'identity' for lora-v, which has no other"),
    ],
)
def test_senseless_adapters_are_refused(wrong, message, clipseg, unchecked):
    with pytest.raises(ValueError, match=message):
        load_model(clipseg, **wrong)


def test_a_second_adapter_is_refused(clipseg):
    net = load_model(clipseg, "dense-v").net
    with pytest.raises(ValueError, match="already has adapters"):
        adapt(net, "shallow-v")


def test_text_towers_of_another_width_refuse_shallow_adapters_and_stay_as_they_were(
    vocabulary, tmp_path
):
    configuration = tiny.config(vocabulary, text={"hidden_size": 16})
    tiny.hugging_face(configuration).save_pretrained(tmp_path)
    net = load_model(tmp_path).net
    with pytest.raises(ValueError, match="as wide as the projection; got 16 and 32"):
        adapt(net, "shallow-vl")
    assert adapter_state(net) == {}
    adapt(net, "dense-vlc")
