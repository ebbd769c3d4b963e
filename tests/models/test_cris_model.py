"""CRIS through ``load_model``: files, set-ups, checkpoints, text attacks, a little training."""

import pytest
import torch

from palpate.attacks import pgd
from palpate.models import build_cris, convert_cris, load_model, save_checkpoint

from . import tiny_cris
from .test_checkpoints import train_a_little

PROMPTS = ["a polyp", "skin, dark"]


@pytest.fixture(scope="module")
def folder(vocabulary, tokenizer_folder, tmp_path_factory):
    """A model directory; nobody may change it."""
    out = tmp_path_factory.mktemp("cris")
    return build_cris(tokenizer_folder, out, tiny_cris.config(vocabulary), seed=1)


@pytest.fixture
def images():
    return torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0))


def logits(model, images):
    with torch.no_grad():
        return model(images, PROMPTS)


def test_logits_have_the_size_of_the_image_and_depend_on_it_and_the_prompt(folder, images):
    model = load_model(folder)
    images.requires_grad_()
    found = model(images, PROMPTS)
    assert found.shape == (2, 1, 40, 50)
    found.square().sum().backward()
    assert (images.grad != 0).all(dim=1).float().mean() > 0.99
    with torch.no_grad():
        assert (model(images, PROMPTS[::-1]) - found).abs().max() > 1e-4
    assert (model.threshold, model.preprocessing.size) == (0.35, 64)
    assert model.preprocessing.mean == (0.48145466, 0.4578275, 0.40821073)


def test_a_checkpoint_file_its_conversion_and_its_directory_are_one_model(
    folder, images, tokenizer_folder, tmp_path
):
    model = load_model(folder)
    state = {f"module.{k}": v for k, v in model.net.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "cris.pth")
    untold = tiny_cris.SIZES
    direct = load_model(tmp_path / "cris.pth", tokenizer=tokenizer_folder, options=untold)
    out = convert_cris(tmp_path / "cris.pth", tokenizer_folder, tmp_path / "out", **untold)
    for other in (direct, load_model(out)):
        torch.testing.assert_close(logits(other, images), logits(model, images), rtol=0, atol=0)
        assert other.base_hash == model.base_hash


def test_texts_are_padded_with_the_token_that_is_no_word(folder):
    model = load_model(folder)
    short, long = model.tokens(["polyp", "a polyp skin"]).tolist()
    end = model.net.config.vocabulary - 1
    assert long[-1] == end
    assert short[short.index(end) + 1 :] == [0] * (len(long) - 3)


def test_remembered_texts_are_those_that_are_read(folder):
    model = load_model(folder)
    with torch.no_grad():
        torch.testing.assert_close(model.condition(PROMPTS), model.read(PROMPTS))


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("all", {"backbone", "neck", "decoder", "proj"}),
        ("decoder", {"neck", "decoder", "proj"}),
        ("nothing", set()),
    ],
)
def test_what_learns_is_chosen(what, parts, folder):
    model = load_model(folder)
    model.learn(what)
    learning = {n.split(".")[0] for n, p in model.net.named_parameters() if p.requires_grad}
    assert learning == parts


def test_adapters_and_senseless_options_are_refused(folder, unchecked):
    with pytest.raises(ValueError, match="no places for adapters"):
        load_model(folder, "dense-vl")
    with pytest.raises(ValueError, match="is a CRIS and has no places for adapters"):
        load_model(folder).learn("adapters")
    with pytest.raises(ValueError, match="among size, threshold, dropout, decoder_heads"):
        load_model(folder, options={"width": 3})
    with pytest.raises(ValueError, match="threshold between 0 and 1, got 'a'"):
        load_model(folder, options={"threshold": "a"})


def test_a_checkpoint_of_what_learnt_comes_back_with_its_statistics(folder, images, tmp_path):
    model = load_model(folder, options={"size": 96, "threshold": 0.5})
    model.learn("decoder")
    model.train()
    model(images, PROMPTS)
    train_a_little(model).eval()
    save_checkpoint(model, tmp_path)
    again = load_model(tmp_path)
    assert (again.preprocessing.size, again.threshold) == (96, 0.5)
    torch.testing.assert_close(logits(again, images), logits(model, images), rtol=0, atol=0)
    moved = again.net.neck.aggr[1].running_mean
    assert not torch.equal(moved, load_model(folder).net.neck.aggr[1].running_mean)


def test_what_does_not_learn_neither_moves_nor_drops(folder, images):
    model = load_model(folder)
    model.net.proj.requires_grad_(True)
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    model.train()
    model(images, PROMPTS)
    moved = {k for k, v in model.net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    assert all(name.startswith("proj.") for name in moved)
    assert not model.net.decoder.layers[0].dropout.training
    model.learn("decoder")
    assert model.train().net.decoder.layers[0].dropout.training


def test_it_learns_and_is_attacked(folder, images):
    masks = torch.zeros(2, 1, 40, 50, dtype=torch.bool)
    masks[:, :, 10:30, 10:30] = True
    model = load_model(folder, options={"dropout": 0.0})
    model.learn("decoder")
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    losses = []
    for _ in range(12):
        model.train()
        value = loss(model(images, PROMPTS), masks.float())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.7 * losses[0]
    model.eval().requires_grad_(False)

    def attacked(x):
        return model(x, PROMPTS)

    adversarial = pgd(attacked, images, masks, epsilon=8 / 255, steps=3)
    with torch.no_grad():
        clean, hurt = (loss(attacked(x), masks.float()) for x in (images, adversarial))
    assert (adversarial - images).abs().max() <= 8 / 255 + 1e-6
    assert hurt > clean


@pytest.mark.real_data
def test_the_real_tokenizer_reads_prompts(weights_root, tmp_path):
    config = tiny_cris.config(49408, context=77)
    model = load_model(build_cris(weights_root / "clip_tokenizer", tmp_path, config, seed=0))
    tokens = model.tokens(["one small polyp", "polyp"])
    assert tokens[:, 0].tolist() == [49406, 49406]
    assert tokens[0, -1] == 49407
    assert tokens[1, -1] == 0
    assert model(torch.rand(2, 3, 64, 64), ["a", "b"]).isfinite().all()


def test_medvlsms_prompts_are_filled_up_with_the_token_that_ends_them(folder, images):
    model = load_model(folder, options={"compat": "medvlsm"})
    tokens, usual = model.tokens(PROMPTS), load_model(folder).tokens(PROMPTS)
    assert tokens.shape == (2, model.net.config.context)
    for row, short in zip(tokens, usual, strict=True):
        words = short[short != 0]
        assert row[: len(words)].equal(words)
        assert row[len(words) :].eq(words[-1]).all()
    condition = model.condition(PROMPTS)
    assert condition[:, -model.net.config.context :].eq(1).all()  # all of them are read
    assert (logits(model, images) - logits(load_model(folder), images)).abs().max() > 1e-4
    with pytest.raises(ValueError, match="compat 'medvlsm' or None, got 'hf'"):
        load_model(folder, options={"compat": "hf"})
