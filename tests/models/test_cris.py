"""Our CRIS against the published computation written anew, and its two modes."""

import copy

import pytest
import torch
from torch import nn

from palpate.models.cris import CRIS, CrisConfig
from palpate.models.cris.config import config_of
from palpate.models.cris.decoder import grid_sinusoids, sinusoids

from . import published_cris, tiny_cris

TOKENS = torch.tensor([[58, 5, 7, 59, 0, 0], [58, 3, 0, 9, 11, 59]])  # the second has a word 0


@pytest.fixture
def net():
    return tiny_cris.network()


@pytest.fixture
def pixels():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def expected(net, pixels, tokens=TOKENS, **options):
    return published_cris.logits(
        net.state_dict(), pixels, tokens, **tiny_cris.heads(net.config), **options
    )


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())


@pytest.mark.reference
@pytest.mark.parametrize("side", [64, 96], ids=["4 cells, grid stretched", "trained grid"])
def test_logits_equal_the_published_computation(side, net):
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    with torch.no_grad():
        ours = net(pixels, net.condition(TOKENS))
        assert ours.shape == (2, 1, side, side)
        close(ours, expected(net, pixels))


@pytest.mark.reference
def test_training_mode_equals_the_published_computation_but_for_dropout(net, pixels):
    # Normalising few values by themselves blows rounding up.
    net, pixels = tiny_cris.without_dropout(net).double().train(), pixels.double()
    state = copy.deepcopy(net)
    with torch.no_grad():
        close(net(pixels, net.condition(TOKENS)), expected(state, pixels, training=True))


@pytest.mark.reference
@pytest.mark.slow
def test_full_size_equals_the_published_computation():
    net = tiny_cris.network(CrisConfig())
    pixels = torch.randn(1, 3, 416, 416, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[49406, 320, 2000, 49407, 0, 0]])
    with torch.no_grad():
        close(net(pixels, net.condition(tokens)), expected(net, pixels, tokens))


def test_full_size_has_as_many_parameters_as_published():
    with torch.device("meta"):
        net = CRIS(CrisConfig())
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    # OpenAI's RN50 has 102,007,137; its pooling gets a short cut of 2,097,152 + 2,048 here, and
    # one parameter of it (the pooled place's embedding) is read by nobody.
    assert sizes["backbone"] == 102_007_137 + 2_097_152 + 2_048
    assert sum(sizes.values()) == 146_849_122


def test_sizes_are_read_off_the_weights(net):
    assert config_of(net.state_dict(), **tiny_cris.SIZES) == net.config


def test_the_configuration_survives_its_file(net):
    assert CrisConfig.from_json(net.config.to_json()) == net.config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": 24}, "as wide as the middle of the neck, got 24 and 32"),
        ({"decoder_heads": 5}, "4 and 5 decoder heads divide, got 32"),
        ({"size": 400}, "multiple of 32 pixels, got 400"),
        ({"size": "64"}, "Expected size to be 1 whole number of at least 1, got '64'"),
        ({"decoder_heads": 0}, "decoder_heads to be 1 whole number of at least 1, got 0"),
        ({"decoder_heads": 4.0}, "decoder_heads to be 1 whole number of at least 1, got 4.0"),
        ({"stages": (1, 2, 1)}, r"stages to be 4 whole numbers of at least 1, got \(1, 2, 1\)"),
        ({"dropout": "a"}, r"dropout in \[0, 1\), got 'a'"),
    ],
)
def test_senseless_sizes_are_refused(changes, message, unchecked):
    with pytest.raises(ValueError, match=message):
        tiny_cris.config(**changes)


def test_padding_changes_nothing(net, pixels):
    longer = nn.functional.pad(TOKENS, (0, 5))
    with torch.no_grad():
        torch.testing.assert_close(net.condition(longer), net.condition(TOKENS))
        close(expected(net, pixels, longer), expected(net, pixels))


def test_every_word_counts_but_padding_does_not(net, pixels):
    told = net.condition(TOKENS[:1]).detach().requires_grad_()
    net(pixels[:1], told).square().sum().backward()
    sizes = [net.config.joint, 12 * 32, 12]
    sentence, words, _ = told.grad.split(sizes, dim=1)
    reached = words.view(12, 32).abs().sum(dim=1) > 0
    assert sentence.abs().min() > 0
    assert reached.tolist() == [True] * 4 + [False] * 8


def test_images_of_a_batch_do_not_influence_each_other(net, pixels):
    with torch.no_grad():
        told = net.condition(TOKENS)
        together = net(pixels, told)
        alone = [net(x[None], c[None]) for x, c in zip(pixels, told, strict=True)]
    close(together, torch.cat(alone))


def test_levels_of_one_image_do_for_many_prompts(net, pixels):
    with torch.no_grad():
        told = net.condition(TOKENS)
        several = net.decode(net.features(pixels[:1]), told)
        close(several, net(pixels[:1].expand(2, -1, -1, -1), told))


def test_gradient_reaches_every_pixel_and_every_parameter_that_is_read(net, pixels):
    net = tiny_cris.without_dropout(net).train()
    pixels.requires_grad_()
    net(pixels, net.condition(TOKENS)).square().sum().backward()
    assert (pixels.grad != 0).all(dim=1).float().mean() > 0.99
    silent = {n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == {"backbone.logit_scale"}


def test_training_mode_drops_and_normalises_by_the_batch(net, pixels):
    told = net.condition(TOKENS).detach()
    with torch.no_grad():
        quiet = net(pixels, told)
        torch.testing.assert_close(net(pixels, told), quiet, rtol=0, atol=0)
        before = net.neck.aggr[1].running_mean.clone()
        first, second = net.train()(pixels, told), net(pixels, told)
        tiny_cris.without_dropout(net)
        still = net(pixels, told)
    assert (first - second).abs().max() > 1e-3
    assert (still - quiet).abs().max() > 1e-3
    assert not torch.equal(net.neck.aggr[1].running_mean, before)


def test_a_single_image_trains(net, pixels):
    net.train()
    net(pixels[:1], net.condition(TOKENS[:1])).sum().backward()
    assert net.neck.txt_proj[0].weight.grad.isfinite().all()


def test_sinusoids_are_those_of_the_paper():
    table = sinusoids(4, 6)
    assert table[3, 0] == torch.tensor(3.0).sin()
    torch.testing.assert_close(table[3, 3], torch.tensor(3 / 10000 ** (2 / 6)).cos())
    grid = grid_sinusoids(2, 3, 8).view(2, 3, 8)
    torch.testing.assert_close(grid[1, 2, :4], sinusoids(3, 4)[2])
    torch.testing.assert_close(grid[1, 2, 4:], sinusoids(2, 4)[1])
