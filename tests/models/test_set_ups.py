"""CLIPSeg in every published set-up: what of it learns, and how much that is."""

import builtins

import pytest
import torch

from palpate.models import adapter_state, load_model, save_checkpoint
from palpate.models.clipseg.adapters import adapt, telescope
from palpate.models.clipseg.clipseg import CLIPSeg

from . import tiny
from .test_checkpoints import train_a_little
from .test_clipseg import published

PROMPTS = ["a polyp", "skin, dark"]
TOWERS = ("clip.vision_model.", "clip.text_model.", "clip.text_projection.")
# What a text-prompted mask does not depend on: blocks beyond the deepest tap, and the pooled image.
UNREAD = ("clip.vision_model.encoder.layers.4.", "clip.vision_model.post_layernorm.")
UNREAD += ("clip.visual_projection.", "clip.logit_scale")


def reached(model, images):
    """Names of the parameters that a gradient reaches."""
    model(images, PROMPTS).square().sum().backward()
    return {n for n, p in model.net.named_parameters() if p.grad is not None and p.grad.any()}


def names(net, *starts):
    return {name for name, _ in net.named_parameters() if name.startswith(starts)}


def test_zero_shot_trains_nothing(clipseg, pixels):
    model = load_model(clipseg)
    model.learn("nothing")
    assert not model(pixels, PROMPTS).requires_grad


def test_frozen_encoders_train_the_decoder_only(clipseg, pixels):
    model = load_model(clipseg)
    model.learn("decoder")
    assert reached(model, pixels) == names(model.net, "decoder.")


def test_end_to_end_truly_trains_both_towers(clipseg, pixels):
    model = load_model(clipseg)
    model.learn("all")
    wanted = names(model.net, *TOWERS, "decoder.") - names(model.net, *UNREAD)
    found = reached(model, pixels)
    # A bias added to every key alike changes no attention.
    assert {n for n in wanted - found if "k_proj.bias" not in n} <= names(
        model.net, "clip.text_model.embeddings"
    )
    assert names(model.net, "clip.vision_model.encoder.layers.0.mlp") <= found
    assert names(model.net, "clip.text_model.encoder.layers.0.mlp") <= found


@pytest.mark.parametrize("adapter", ["dense-vl", "shallow-vlc", "telescopic-vl", "lora-vl"])
@pytest.mark.parametrize("what", ["adapters", "decoder"])
def test_the_decoder_learns_beside_an_adapter_or_not(what, adapter, clipseg):
    model = load_model(clipseg, adapter)
    model.learn(what)
    learning = {n for n, p in model.net.named_parameters() if p.requires_grad}
    decoder = names(model.net, "decoder.") if what == "decoder" else set()
    assert learning == adapter_state(model.net).keys() | decoder


def test_full_size_counts():
    def learning(adapter=None):
        with torch.device("meta"):
            net = CLIPSeg(published())
            if adapter:
                adapt(net, adapter)
        return net

    net = learning()
    assert sum(p.numel() for p in net.parameters()) == 150_747_746
    assert sum(p.numel() for p in net.decoder.parameters()) == 1_127_009
    added = learning("lora-vl")
    assert sum(p.numel() for p in added.parameters()) == 150_747_746 + 442_368


def test_telescopic_width_grows_to_the_whole(clipseg):
    assert telescope(3, 5) == [1, 1, 2, 2, 3]
    net = load_model(clipseg, "telescopic-vl", width=9).net
    for tower in (net.clip.vision_model, net.clip.text_model):
        blocks = tower.encoder.layers
        assert [len(block.after_mlp.down.weight) for block in blocks[:3]] == [3, 6, 9]
        assert [len(block.after_attention.down.weight) for block in blocks[:3]] == [3, 6, 9]
        assert isinstance(blocks[3].after_mlp, torch.nn.Identity)


def test_lora_adds_a_product_of_low_rank_to_queries_and_values(clipseg, pixels):
    """The adapted model equals the plain one whose matrices are ``W + B A``."""
    model = train_a_little(load_model(clipseg, "lora-vl", width=2))
    plain = load_model(clipseg)
    added = adapter_state(model.net)
    merged = 0
    with torch.no_grad():
        for name, weight in plain.net.named_parameters():
            place = name.removesuffix(".weight")
            if f"{place}.lora_A.default.weight" in added:
                up, down = (added[f"{place}.lora_{p}.default.weight"] for p in "BA")
                assert down.shape[0] == up.shape[1] == 2
                weight += up @ down
                merged += 1
        assert merged == 2 * (4 + 5)  # image blocks up to the deepest tap, 3; all text blocks
        before = load_model(clipseg)(pixels, PROMPTS)
        tiny.same(model(pixels, PROMPTS), plain(pixels, PROMPTS))
        assert (plain(pixels, PROMPTS) - before).abs().max() > 1e-2


def test_gradient_reaches_every_lora(clipseg, pixels):
    model = train_a_little(load_model(clipseg, "lora-vl", width=2))
    assert reached(model, pixels) == adapter_state(model.net).keys()


def test_lora_goes_into_a_checkpoint_of_its_own_size(clipseg, tmp_path):
    model = train_a_little(load_model(clipseg, "lora-v", width=2))
    save_checkpoint(model, tmp_path)
    from safetensors.torch import load_file

    kept = load_file(tmp_path / "weights.safetensors")
    assert sum(v.numel() for v in kept.values()) == 4 * 2 * 2 * (48 + 48)
    again = load_model(tmp_path)
    assert {n for n, p in again.net.named_parameters() if p.requires_grad} == kept.keys()


def test_without_peft_lora_says_what_to_install(clipseg, monkeypatch):
    real = builtins.__import__

    def without_peft(name, *rest, **more):
        if name == "peft":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_peft)
    with pytest.raises(ImportError, match=r"run pip install peft"):
        load_model(clipseg, "lora-v")


@pytest.mark.reference
@pytest.mark.parametrize("size", [48, 96])
def test_any_multiple_of_the_patch_is_an_input_size(size, hf, clipseg, pixels):
    from .test_clipseg import theirs

    model = load_model(clipseg, options={"size": size})
    with torch.no_grad():
        small = model.net(model.to_network(pixels), model.condition(PROMPTS))
        assert small.shape[-2:] == (size, size)
        tiny.same(small, theirs(hf, model, pixels, PROMPTS))


@pytest.mark.parametrize("size", [40, 0, 32.0, "32"])
def test_other_sizes_are_refused(size, clipseg):
    with pytest.raises(ValueError, match=f"multiple of 16 pixels, got {size!r}"):
        load_model(clipseg, options={"size": size})


def test_unknown_options_are_refused(clipseg):
    with pytest.raises(
        ValueError, match=r"among size, example, mask, highlight, got 'sise'. Did you mean"
    ):
        load_model(clipseg, options={"sise": 32})
