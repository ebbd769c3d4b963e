"""BiomedCLIP: towers against Hugging Face's ViT and BERT with the same weights."""

import pytest
import torch
from torch.nn import functional as F

from palpate.models import DecoderParts, build_from_biomedclip, load_model
from palpate.models.biomedclip.open_clip_keys import read_biomedclip
from palpate.models.clip.config import BertConfig, ClipSegConfig, VisionConfig
from palpate.models.clipseg.clipseg import CLIPSeg

from . import tiny, tiny_biomedclip

PROMPTS = ["a polyp", "skin, dark polyps"]


@pytest.fixture(scope="module")
def towers():
    """Hugging Face's; nobody may change them."""
    return tiny_biomedclip.reference()


@pytest.fixture(scope="module")
def source(towers, tmp_path_factory):
    """What is published; nobody may change it."""
    state = tiny_biomedclip.published_names(*towers)
    return tiny_biomedclip.write(tmp_path_factory.mktemp("biomedclip"), state)


@pytest.mark.reference
def test_the_image_tower_equals_hugging_faces_vit(towers, source, pixels):
    vit, _, parts = towers
    net = load_model(source).net
    with torch.no_grad():
        theirs = vit(pixels, output_hidden_states=True)
        for ours, tap in zip(net.clip.vision_model(pixels, (0, 2, 4)), (0, 2, 4), strict=True):
            tiny.same(ours, theirs.hidden_states[tap + 1])
        shown = theirs.last_hidden_state[:, 0] @ parts["visual.head.proj.weight"].T
        tiny.same(net.condition_from(pixels), shown)


@pytest.mark.reference
def test_the_text_tower_equals_hugging_faces_bert(towers, source):
    _, bert, parts = towers
    model = load_model(source)
    tokens = model.tokens(PROMPTS)
    with torch.no_grad():
        seen = bert(tokens, attention_mask=(tokens != 0).long()).last_hidden_state[:, 0]
        theirs = F.gelu(seen @ parts["text.proj.0.weight"].T) @ parts["text.proj.2.weight"].T
        tiny.same(model.condition(PROMPTS), theirs)
        tiny.same(model.read(PROMPTS), theirs)


def test_texts_are_word_pieces_cut_to_the_context(source):
    model = load_model(source)
    assert model.tokens(["A polyp", "Skin, dark polyps"]).tolist() == [
        [2, 5, 6, 3, 0, 0, 0],
        [2, 7, 8, 9, 6, 10, 3],
    ]
    assert model.tokens(["polyp " * 20]).tolist() == [[2, *[6] * 6, 3]]
    assert model.texts(model.tokens(["a polyp"])) == ["a polyp"]
    assert {0, 2, 3} <= model.special_tokens


def test_padding_changes_no_text(source):
    model = load_model(source)
    with torch.no_grad():
        tiny.same(model.read(PROMPTS)[:1], model.read(PROMPTS[:1]))


def test_the_whole_is_one_differentiable_computation(source):
    model = load_model(source)
    images = torch.rand(
        2, 3, 40, 50, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    logits = model(images, PROMPTS)
    assert logits.shape == (2, 1, 40, 50)
    logits.square().sum().backward()
    assert (images.grad != 0).all(dim=1).float().mean() > 0.99
    with torch.no_grad():
        assert (model(images, PROMPTS[::-1]) - logits).abs().max() > 0


def test_images_are_normalised_as_its_configuration_says(source):
    model = load_model(source)
    assert model.preprocessing.size == 32
    assert model.preprocessing.mean == (0.48, 0.46, 0.41)
    assert model.preprocessing.std == (0.27, 0.26, 0.28)


def test_the_published_off_by_one_is_a_switch(source, unchecked):
    assert load_model(source).net.config.extract_layers == (3,)  # of blocks 3, 6, 9 it has one
    net = load_model(source, options={"compat": "medvlsm"}).net
    assert net.config.extract_layers == (4,)
    with pytest.raises(ValueError, match="compat 'medvlsm' or None, got 'hf'"):
        load_model(source, options={"compat": "hf"})


@pytest.fixture
def decoder(tmp_path):
    """A CLIPSeg whose decoder fits: towers as wide, taps that BiomedCLIP has."""
    from palpate.atomic import write_text
    from palpate.models.files.weights import write_weights

    config = ClipSegConfig(
        vision=VisionConfig(hidden_size=64, num_attention_heads=1, num_hidden_layers=4,
                            intermediate_size=8, patch_size=8, image_size=32, layer_norm_eps=1e-4),
        projection_dim=24, extract_layers=(1, 2, 3), reduce_dim=16, decoder_intermediate_size=12,
        use_complex_transposed_convolution=True,
        text=BertConfig(vocab_size=5, hidden_size=8, num_attention_heads=1, num_hidden_layers=1,
                        intermediate_size=8, max_position_embeddings=4),
    )  # fmt: skip
    import json

    torch.manual_seed(1)
    state = CLIPSeg(config).state_dict()
    write_weights(state, tmp_path / "model.safetensors")
    write_text(tmp_path / "config.json", json.dumps(config.to_hf()))
    return tmp_path, state, config


def test_a_pretrained_decoder_is_taken_as_it_is(source, decoder):
    folder, state, config = decoder
    net = load_model(source, options={"decoder": folder}).net
    assert net.config.extract_layers == (1, 2, 3)
    assert net.config.decoder_layer_norm_eps == config.vision.layer_norm_eps == 1e-4
    assert net.decoder.layers[0].layer_norm1.eps == 1e-4
    own = net.decoder.state_dict()
    assert all(torch.equal(own[k], state[f"decoder.{k}"]) for k in own)
    shifted = load_model(source, options={"decoder": folder, "compat": "medvlsm"}).net
    assert shifted.config.extract_layers == (2, 3, 4)


def test_the_seed_draws_a_random_decoder(source):
    first, again, other = (load_model(source, seed=s) for s in (1, 1, 2))
    assert first.base_hash == again.base_hash != other.base_hash
    assert first.fresh


def test_a_converted_directory_is_the_same_model(source, tmp_path, pixels):
    out = build_from_biomedclip(source, tmp_path / "ours", decoder=DecoderParts(seed=3))
    built, direct = load_model(out), load_model(source, seed=3)
    with torch.no_grad():
        tiny.same(built(pixels, PROMPTS), direct(pixels, PROMPTS))
    assert built.base_hash == direct.base_hash
    assert built.net.config == direct.net.config


@pytest.mark.parametrize("adapter", ["dense-vlc", "telescopic-vl", "lora-vl"])
def test_adapters_go_into_both_towers(adapter, source, pixels):
    with torch.no_grad():
        plain = load_model(source)(pixels, PROMPTS)
        adapted = load_model(source, adapter)
        tiny.same(adapted(pixels, PROMPTS), plain)
    assert any("text_model" in n for n, p in adapted.named_parameters() if p.requires_grad)


def test_full_size_has_as_many_parameters_as_published():
    """195,902,721 in open_clip; here patch bias and sentence vectors are part of the places."""
    with torch.device("meta"):
        net = CLIPSeg(
            ClipSegConfig(
                vision=VisionConfig(patch_size=16, hidden_act="gelu"),
                text=BertConfig(),
                projection_hidden=640,
                pre_layer_norm=False,
                use_complex_transposed_convolution=True,
            )
        )
    count = sum(p.numel() for p in net.clip.parameters())
    assert count == 195_902_721 - 768 - 2 * 768
    assert sum(p.numel() for p in net.decoder.parameters()) == 1_127_009


def changed(towers, tmp_path, configuration=None, **changes):
    state = tiny_biomedclip.published_names(*towers) | changes
    return tiny_biomedclip.write(
        tmp_path, {k: v for k, v in state.items() if v is not None}, configuration
    )


def test_older_configurations_and_buffers_load(towers, tmp_path):
    old = tiny_biomedclip.config(
        hf_proj_type=None, hf_pooler_type=None,
        proj="mlp", pooler_type="cls_last_hidden_state_pooler",
    )  # fmt: skip
    text = old["model_cfg"]["text_cfg"]
    for name in ("hf_proj_type", "hf_pooler_type"):
        del text[name]
    buffer = {"text.transformer.embeddings.position_ids": torch.arange(16)[None]}
    read_biomedclip(changed(towers, tmp_path, old, **buffer))


def test_missing_unexpected_and_misshapen_tensors_are_named(towers, tmp_path):
    name = "visual.trunk.blocks.2.attn.qkv.weight"
    with pytest.raises(ValueError, match=f"lack '{name}', which a BiomedCLIP has"):
        load_model(changed(towers, tmp_path / "less", **{name: None}))
    with pytest.raises(ValueError, match=r"1 are not expected \(visual.trunk.extra\)"):
        load_model(changed(towers, tmp_path / "more", **{"visual.trunk.extra": torch.zeros(1)}))
    wrong = {"visual.head.proj.weight": torch.zeros(24, 5)}
    with pytest.raises(ValueError, match=r"visual_projection.weight: expected \(24, 64\)"):
        load_model(changed(towers, tmp_path / "odd", **wrong))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"hf_pooler_type": "mean_pooler"}, "text pooler 'cls_last_hidden_state_pooler'.*mean_"),
        ({"hf_proj_type": "linear"}, "text projection 'mlp'.*got 'linear'"),
    ],
)
def test_other_models_of_open_clip_are_refused(text, message, towers, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_model(changed(towers, tmp_path, tiny_biomedclip.config(**text)))


def test_missing_files_are_named(source, towers, tmp_path):
    folder = changed(towers, tmp_path)
    (folder / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has neither vocab.txt nor tokenizer.json"):
        build_from_biomedclip(folder, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="has no tokenizer"):
        load_model(folder).condition(["a"])
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    with pytest.raises(ValueError, match=r"not that of this model: expected 11 tokens.*got 5"):
        load_model(folder).condition(["a"])
    (folder / "open_clip_pytorch_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no open_clip_pytorch_model.bin"):
        load_model(folder)


def of_medvlsm(source, folder):
    """What MedVLSM's training saves: the model of a folder with a decoder that was trained."""
    from palpate.models.files.safe_pickle import read_pickled

    trained = load_model(source, options={"compat": "medvlsm"}, seed=5)
    state = {k: v for k, v in trained.net.state_dict().items() if k.startswith("decoder.")}
    path = source / "open_clip_pytorch_model.bin"
    towers = read_pickled(path, family="BiomedCLIP", marks=("visual.trunk.",))
    state |= {f"biomedclip.{name}": value + 0.01 for name, value in towers.items()}
    torch.save({"state_dict": {f"net.{k}": v for k, v in state.items()}}, folder / "best.ckpt")
    return trained, folder / "best.ckpt"


def test_a_checkpoint_of_medvlsm_is_read_with_its_own_towers_and_decoder(source, pixels, tmp_path):
    trained, path = of_medvlsm(source, tmp_path)
    model = load_model(path, base=source)
    assert model.net.config == trained.net.config
    assert not model.fresh
    ours, theirs = model.net.state_dict(), trained.net.state_dict()
    decoder = {name for name in theirs if name.startswith("decoder.")}
    assert all(ours[name].equal(theirs[name]) for name in decoder)
    moved = ours["clip.visual_projection.weight"] - theirs["clip.visual_projection.weight"]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01))
    assert model(pixels, PROMPTS).isfinite().all()


def test_a_checkpoint_of_medvlsm_with_parts_missing_is_refused(source, tmp_path):
    _, path = of_medvlsm(source, tmp_path)
    state = torch.load(path)["state_dict"]
    del state["net.decoder.layers.0.mlp.fc2.bias"]
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"1 tensors are missing \(decoder.layers.0.mlp.fc2.bias"):
        load_model(path, base=source)
