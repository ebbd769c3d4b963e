"""Checkpoints: what comes back, and everything that may be wrong with one."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from palpate.models import ADAPTERS, load_model, save_checkpoint

from . import tiny

PROMPTS = ["a polyp", "skin, dark"]


def train_a_little(model):
    """Move whatever may be trained, as a training would."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def trained(clipseg):
    return train_a_little(load_model(clipseg, "dense-vl", width=4))


@pytest.fixture
def checkpoint(trained, tmp_path):
    trained.threshold = 0.4
    save_checkpoint(trained, tmp_path / "checkpoint", {"epochs": 3})
    return tmp_path / "checkpoint"


def card(folder, **changes):
    path = folder / "palpate.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | changes))
    return values


def logits(model, pixels):
    with torch.no_grad():
        return model(pixels, PROMPTS)


QUICK = {("dense-vlc", "paper"), ("shallow-vlc", "identity"), ("telescopic-vlc", "paper")}
QUICK |= {("lora-vl", "identity")}


@pytest.mark.parametrize(
    ("name", "init"),
    [
        pytest.param(n, i, marks=[] if (n, i) in QUICK else [pytest.mark.slow])
        for n in ADAPTERS
        for i in ("identity", "paper")
        if i == "identity" or "lora" not in n
    ],
)
def test_a_loaded_checkpoint_is_the_saved_model(name, init, clipseg, tmp_path, pixels):
    model = train_a_little(load_model(clipseg, name, init=init, width=4))
    save_checkpoint(model, tmp_path)
    loaded = load_model(tmp_path)
    torch.testing.assert_close(logits(loaded, pixels), logits(model, pixels), rtol=0, atol=0)
    described = (loaded.adapter, loaded.adapter_init, loaded.adapter_width, loaded.base_hash)
    assert described == (name, init, 4, model.base_hash)
    assert not loaded.training


def test_a_checkpoint_holds_the_adapters_only_and_says_what_it_is(checkpoint, trained):
    kept = load_file(checkpoint / "weights.safetensors")
    assert kept.keys() == {n for n, p in trained.net.named_parameters() if p.requires_grad}
    values = card(checkpoint)
    assert values["adapter"] == "dense-vl"
    assert values["base_hash"] == trained.base_hash
    assert values["training"] == {"epochs": 3}
    assert sorted(p.name for p in checkpoint.iterdir()) == ["palpate.json", "weights.safetensors"]


def test_the_threshold_comes_back(checkpoint):
    assert load_model(checkpoint).threshold == 0.4


def test_only_the_adapters_of_a_loaded_checkpoint_require_gradient(checkpoint, trained):
    wanted = {n for n, p in trained.named_parameters() if p.requires_grad}
    assert {n for n, p in load_model(checkpoint).named_parameters() if p.requires_grad} == wanted


def test_a_trained_decoder_survives_being_saved_twice(clipseg, tmp_path, pixels):
    model = load_model(clipseg, "shallow-v", width=4)
    model.net.decoder.requires_grad_(True)
    save_checkpoint(train_a_little(model), tmp_path / "once")
    save_checkpoint(load_model(tmp_path / "once"), tmp_path / "twice")
    again = load_model(tmp_path / "twice")
    torch.testing.assert_close(logits(again, pixels), logits(model, pixels), rtol=0, atol=0)


def learn_in_turn(folder, clipseg, first, then):
    """Train one part, save, load, train another part, save beside."""
    model = load_model(clipseg, "dense-vl", width=4)
    model.learn(first)
    save_checkpoint(train_a_little(model), folder / "first")
    model = load_model(folder / "first")
    model.learn(then)
    save_checkpoint(train_a_little(model), folder / "second")
    return model


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(first, then, marks=[pytest.mark.slow] if "all" in (first, then) else [])
        for first in ("adapters", "decoder", "all")
        for then in ("adapters", "decoder", "all")
        if first != then or first == "all"
    ],
)
def test_what_was_trained_before_is_saved_with_what_is_trained_since(
    first, then, clipseg, tmp_path, pixels
):
    model = learn_in_turn(tmp_path, clipseg, first, then)
    loaded = load_model(tmp_path / "second")
    torch.testing.assert_close(logits(loaded, pixels), logits(model, pixels), rtol=0, atol=0)


def test_a_base_that_computes_something_else_is_refused(checkpoint, clipseg, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(clipseg, other)
    path = other / "config.json"
    config = json.loads(path.read_text())
    config["extract_layers"] = [0, 1, 2]
    path.write_text(json.dumps(config))
    (other / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3}))
    with pytest.raises(ValueError, match=r"something else .*preprocessing.mean was .* and is"):
        load_model(checkpoint, base=other)


def test_a_checkpoint_from_before_traits_were_told_still_loads(checkpoint, trained, pixels):
    card(checkpoint, traits={})
    loaded = load_model(checkpoint)
    torch.testing.assert_close(logits(loaded, pixels), logits(trained, pixels), rtol=0, atol=0)


def test_a_checkpoint_may_be_given_another_size(checkpoint, clipseg):
    assert load_model(checkpoint, options={"size": 64}).preprocessing.size == 64


@pytest.mark.parametrize("threshold", [3, 0])
def test_a_threshold_that_is_no_probability_is_refused(threshold, checkpoint):
    card(checkpoint, threshold=threshold)
    with pytest.raises(ValueError, match="threshold between 0 and 1"):
        load_model(checkpoint)


@pytest.mark.parametrize(
    ("changes", "said"), [({"base": 5}, "base: "), ({"threshold": "a"}, "threshold: ")]
)
def test_a_card_of_other_kinds_of_values_is_damaged(changes, said, checkpoint, unchecked):
    card(checkpoint, **changes)
    with pytest.raises(ValueError, match=rf"is damaged: {said}"):
        load_model(checkpoint)


def test_a_checkpoint_can_be_replaced(checkpoint, clipseg, pixels):
    other = train_a_little(load_model(clipseg, "shallow-v", width=4))
    save_checkpoint(other, checkpoint)
    torch.testing.assert_close(
        logits(load_model(checkpoint), pixels), logits(other, pixels), rtol=0, atol=0
    )


def test_nothing_trained_is_nothing_to_save(clipseg, tmp_path):
    with pytest.raises(ValueError, match="Nothing to save: this model has no adapter"):
        save_checkpoint(load_model(clipseg), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_base_that_moved_is_asked_for_and_can_be_given(hf, tmp_path, pixels):
    home, away = tmp_path / "home", tmp_path / "away"
    hf.save_pretrained(home)
    tiny.write_tokenizer(home)
    model = train_a_little(load_model(home, "dense-v", width=4))
    expected = logits(model, pixels)
    save_checkpoint(model, tmp_path / "checkpoint")
    shutil.move(home, away)
    with pytest.raises(FileNotFoundError, match=r"needs the model it was trained on.*base=FOLDER"):
        load_model(tmp_path / "checkpoint")
    loaded = load_model(tmp_path / "checkpoint", base=away)
    torch.testing.assert_close(logits(loaded, pixels), expected, rtol=0, atol=0)


def test_a_base_beside_the_checkpoint_is_found(clipseg, checkpoint):
    shutil.copytree(clipseg, checkpoint / "base")
    card(checkpoint, base="base")
    assert load_model(checkpoint).name == str(checkpoint / "base")


def test_a_folder_called_like_a_model_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = load_model("monai/unet", options={"channels": [4, 8], "strides": [2]})
    model.learn("all")
    save_checkpoint(model, tmp_path / "monai" / "unet" / "checkpoint")
    assert load_model("monai/unet/checkpoint").name == "monai/unet"


def test_another_base_is_refused(checkpoint, vocabulary, tmp_path):
    other = tmp_path / "other"
    tiny.hugging_face(tiny.config(vocabulary), seed=1).save_pretrained(other)
    tiny.write_tokenizer(other)
    with pytest.raises(ValueError, match=r"was trained on .* with weights .*Pass base="):
        load_model(checkpoint, base=other)


def test_an_adapter_is_not_put_on_top_of_a_checkpoint(checkpoint):
    with pytest.raises(ValueError, match="brings its own adapter; leave adapter out"):
        load_model(checkpoint, "dense-v")


def test_changed_weights_are_refused(checkpoint):
    path = checkpoint / "weights.safetensors"
    state = load_file(path)
    state[min(state)][0] += 1e-6
    save_file(state, path)
    with pytest.raises(ValueError, match=r"weights\.safetensors is not what palpate\.json"):
        load_model(checkpoint)


def test_truncated_weights_are_refused(checkpoint):
    path = checkpoint / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"weights\.safetensors cannot be read as weights"):
        load_model(checkpoint)


def test_missing_weights_are_named(checkpoint):
    (checkpoint / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"weights\.safetensors is missing"):
        load_model(checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "Expected format 1 .* got 2: it was written by another version"),
        ({"format": None}, "Expected format 1 .* got None"),
        ({"colour": "red"}, r"card .* is damaged: .*unknown \['colour'\]"),
        ({"adapter": "wide"}, "is damaged: adapter: Input should be 'dense-v', "),
        ({"adapter_width": 5}, r"other shapes .*: expected \(.*5.*\), got \(.*4.*\)"),
        ({"adapter": "dense-v"}, "are not expected .*text_model"),
        ({"adapter": "dense-vlc"}, "are missing .*condition_slot"),
    ],
)
def test_cards_that_do_not_fit_are_refused(changes, message, checkpoint, unchecked):
    card(checkpoint, **changes)
    with pytest.raises(ValueError, match=message):
        load_model(checkpoint)


def test_a_card_without_its_base_is_damaged(checkpoint):
    values = card(checkpoint)
    del values["base_hash"]
    (checkpoint / "palpate.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"is damaged: missing \['base_hash'\]"):
        load_model(checkpoint)


def test_an_unreadable_card_is_named(checkpoint):
    (checkpoint / "palpate.json").write_text('{"base": "x"')
    with pytest.raises(ValueError, match=r"palpate\.json is not readable JSON"):
        load_model(checkpoint)
