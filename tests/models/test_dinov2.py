"""A DINOv2 tower in CLIPSeg's shape computes what DINOv2 computes."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from palpate.models import build_from_dinov2, load_model
from palpate.models.from_backbone.dinov2 import NewParts
from palpate.randomness import seeded

from . import tiny

TAPS = (1, 2, 3)


def dinov2(**changes):
    """Hugging Face's DINOv2 with every weight, layer scales too, away from its default."""
    from transformers import Dinov2Config, Dinov2Model

    sizes = {"hidden_size": 24, "num_hidden_layers": 5, "num_attention_heads": 3}
    configuration = Dinov2Config(**({**sizes, "image_size": 56, "patch_size": 14} | changes))
    with seeded(0):
        model = Dinov2Model(configuration).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


@pytest.fixture(scope="module")
def backbone():
    return dinov2()


@pytest.fixture(scope="module")
def backbone_folder(backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dinov2")
    backbone.save_pretrained(folder)
    return folder


@pytest.fixture
def parts(vocabulary):
    return NewParts(
        text_width=16,
        text_layers=2,
        text_heads=2,
        vocabulary=vocabulary,
        end_of_text=vocabulary - 1,
        extract_layers=TAPS,
        reduce_dim=8,
        decoder_hidden=16,
        input_size=56,
    )


@pytest.fixture
def built(backbone_folder, tokenizer_folder, parts, tmp_path):
    return build_from_dinov2(backbone_folder, tokenizer_folder, tmp_path / "built", parts=parts)


def hidden_states(backbone, pixels, taps):
    states = backbone(pixels, output_hidden_states=True).hidden_states
    return [states[tap + 1] for tap in taps]


@pytest.mark.reference
@pytest.mark.parametrize("side", [56, 84, 98], ids=["trained grid", "even grid", "odd grid"])
def test_hidden_states_equal_dinov2s(side, built, backbone):
    model = load_model(built)
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.net.features(pixels)
        for ours, theirs in zip(found, hidden_states(backbone, pixels, TAPS), strict=True):
            tiny.same(ours, theirs)


@pytest.mark.reference
def test_older_and_newer_names_of_weights_are_understood(
    built, backbone_folder, tokenizer_folder, parts, tmp_path
):
    """Attention was called ``attention.attention.query`` before transformers 5."""
    state = load_file(backbone_folder / "model.safetensors")
    renamed = {}
    for name, tensor in state.items():
        if "attention.attention." in name:
            part = name.replace("attention.attention.", "attention.")
            for old, new in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
                part = part.replace(old, new)
            name = part
        renamed[name.replace("attention.output.dense", "attention.o_proj")] = tensor
    assert renamed.keys() != state.keys()
    other = tmp_path / "renamed"
    other.mkdir()
    (other / "config.json").write_bytes((backbone_folder / "config.json").read_bytes())
    save_file(renamed, other / "model.safetensors")
    again = build_from_dinov2(other, tokenizer_folder, tmp_path / "again", parts=parts)
    assert load_model(again).base_hash == load_model(built).base_hash


def test_the_built_model_segments_and_gives_pixel_gradients(built):
    model = load_model(built, "dense-vl", width=4)
    images = torch.rand(2, 3, 70, 90, requires_grad=True)
    logits = model(images, ["a polyp", "skin"])
    assert logits.shape == (2, 1, 70, 90)
    assert model.input_size(70, 90) == 56
    logits.sum().backward()
    assert images.grad.abs().sum() > 0


def test_the_seed_decides_the_new_parts_and_nothing_else(
    built, backbone_folder, tokenizer_folder, parts, tmp_path
):
    def state(seed):
        out = tmp_path / str(seed)
        build_from_dinov2(backbone_folder, tokenizer_folder, out, parts=parts, seed=seed)
        return load_file(out / "model.safetensors")

    first, second = load_file(built / "model.safetensors"), state(1)
    assert all(torch.equal(first[name], tensor) for name, tensor in state(0).items())
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert not any(name.startswith("clip.vision_model") for name in changed)
    assert {"decoder.film_mul.weight", "clip.text_projection.weight"} <= changed


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "vit"}, "Expected a DINOv2 .*got model_type 'vit'"),
        ({"use_swiglu_ffn": True}, "plain MLP .*use_swiglu_ffn True"),
        ({"patch_size": 16}, "patches of 16 pixels divide, got 56"),
        ({"num_hidden_layers": 6}, r"lack 'encoder\.layer\.5\."),
        ({"hidden_size": 12}, "have other shapes"),
    ],
)
def test_backbones_that_do_not_fit_are_refused(
    config, message, backbone_folder, tokenizer_folder, parts, tmp_path
):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    values = json.loads((backbone_folder / "config.json").read_text())
    (wrong / "config.json").write_text(json.dumps(values | config))
    (wrong / "model.safetensors").write_bytes((backbone_folder / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match=message):
        build_from_dinov2(wrong, tokenizer_folder, tmp_path / "out", parts=parts)
    assert not (tmp_path / "out").exists()


def test_a_missing_tokenizer_is_named(backbone_folder, parts, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no vocab\.json with merges\.txt"):
        build_from_dinov2(backbone_folder, tmp_path, tmp_path / "out", parts=parts)


def test_the_backbone_is_not_overwritten(backbone_folder, tokenizer_folder, parts):
    with pytest.raises(FileExistsError, match="holds the backbone itself"):
        build_from_dinov2(backbone_folder, tokenizer_folder, backbone_folder, parts=parts)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.reference
def test_the_real_vit_s_14_keeps_its_hidden_states(weights_root, tmp_path):
    from transformers import Dinov2Model

    folder = weights_root / "dinov2_vits14_imgfocus"
    built = build_from_dinov2(folder, weights_root / "clip_tokenizer", tmp_path / "built")
    model = load_model(built, "dense-vl")
    backbone = Dinov2Model.from_pretrained(folder, variant="fp16").float().eval()
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.net.features(pixels)
        for ours, theirs in zip(found, hidden_states(backbone, pixels, (3, 6, 9)), strict=True):
            tiny.same(ours, theirs)
        assert model(torch.rand(1, 3, 200, 300), ["one small polyp"]).shape == (1, 1, 200, 300)
