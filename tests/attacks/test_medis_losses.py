"""The losses of MedIS: right, against their definitions; as published, against the notebooks'."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from palpate.attacks.losses import (
    MEDIS,
    NOTEBOOK,
    bce,
    bce_dice,
    dice,
    exponential_log,
    log_cosh_dice,
    lovasz_hinge,
    medis_mix,
    notebook_bce_dice,
    notebook_exponential_log,
    notebook_log_cosh_dice,
    notebook_lovasz_hinge,
    notebook_mix,
    notebook_structure,
    structure,
)


@pytest.fixture
def logits():
    return (3 * torch.randn(2, 1, 20, 40, generator=torch.Generator().manual_seed(5))).double()


@pytest.fixture
def masks():
    masks = torch.zeros(2, 1, 20, 40, dtype=torch.bool)
    masks[0, :, 3:9, 5:20] = True
    masks[1, :, :, 30:] = True
    return masks


def edges(mask):
    """Weight of every pixel, one window at a time; beyond the border nothing is foreground."""
    padded = np.pad(mask.astype(float), 15)
    height, width = mask.shape
    windows = [[padded[i : i + 31, j : j + 31] for j in range(width)] for i in range(height)]
    return 1 + 5 * np.abs(np.mean(windows, axis=(2, 3)) - mask)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def entropy(z, t):
    """Cross-entropy of logits, pixel by pixel."""
    return -t * np.log(sigmoid(z)) - (1 - t) * np.log(1 - sigmoid(z))


def weighted_iou(p, t, w):
    shared = (w * p * t).sum()
    return 1 - (shared + 1) / ((w * (p + t)).sum() - shared + 1)


def per_image(formula, logits, masks):
    pairs = zip(logits.numpy()[:, 0], masks.numpy()[:, 0], strict=True)
    return torch.tensor([formula(z, m.astype(float)) for z, m in pairs])


def test_structure_weights_the_edge_of_the_mask(logits, masks):
    def formula(z, t):
        w = edges(t)
        return (w * entropy(z, t)).sum() / w.sum() + weighted_iou(sigmoid(z), t, w)

    assert_close(structure(logits, masks), per_image(formula, logits, masks))


def test_log_cosh_dice(logits, masks):
    expected = torch.tensor([math.log(math.cosh(d)) for d in dice(logits, masks)])
    assert_close(log_cosh_dice(logits, masks), expected.double())


def test_exponential_log_squares_two_logarithms(logits, masks):
    score = 1 - dice(logits, masks)
    right = torch.where(masks, logits.sigmoid(), 1 - logits.sigmoid())
    expected = 0.5 * score.log() ** 2 + 0.5 * (right.log() ** 2).mean((1, 2, 3))
    assert_close(exponential_log(logits, masks), expected)


def test_exponential_log_of_two_pixels():
    logits = torch.tensor([0.0, 0.0]).view(1, 1, 1, 2)
    masks = torch.tensor([True, False]).view(1, 1, 1, 2)
    score = (2 * 0.5 + 1) / (1 + 1 + 1)
    expected = 0.5 * math.log(score) ** 2 + 0.5 * math.log(2) ** 2
    assert exponential_log(logits, masks).item() == pytest.approx(expected)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_lovasz_hinge_of_decided_pixels_is_the_jaccard_loss(pairs):
    """Errors of exactly 0 and 1: there the hinge meets what it extends."""
    truth, wrong = torch.tensor(pairs).T
    right = torch.where(wrong, 0.0, 1.0)
    logits = torch.where(truth, right, -right)
    found = truth ^ wrong
    union = (found | truth).sum().item()
    expected = 1 - (found & truth).sum().item() / union if union else 0.0
    value = lovasz_hinge(logits.view(1, 1, 1, -1), truth.view(1, 1, 1, -1)).item()
    assert value == pytest.approx(expected, abs=1e-6)


def test_lovasz_hinge_by_hand():
    logits = torch.tensor([2.0, -1.0, 0.5]).view(1, 1, 1, 3)
    masks = torch.tensor([True, True, False]).view(1, 1, 1, 3)
    # Errors in falling order: 2 (foreground), 1.5 (background), -1 (foreground).
    # The Jaccard loss grows to 1/2, then to 1 - 1/3, then to 1.
    expected = 2 * 1 / 2 + 1.5 * (2 / 3 - 1 / 2)
    assert lovasz_hinge(logits, masks).item() == pytest.approx(expected)


def test_lovasz_hinge_leaves_pixels_alone_that_are_right_by_far():
    masks = torch.tensor([True, False]).view(1, 1, 1, 2)
    logits = torch.tensor([1.5, -1.5]).view(1, 1, 1, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(lovasz_hinge(logits, masks).sum(), logits)
    assert not gradient.any()


def test_the_weights_of_lovasz_hold_in_large_images():
    """In single precision neighbouring Jaccard losses would differ by rounding alone."""
    count = 2**18
    logits = torch.linspace(-3, 3.01, count).view(1, 1, 1, -1).requires_grad_()
    masks = (torch.arange(count) % 3 == 0).view(1, 1, 1, -1)
    (gradient,) = torch.autograd.grad(lovasz_hinge(logits, masks).sum(), logits)
    truth, signs = masks.flatten().numpy(), np.where(masks.flatten(), -1.0, 1.0)
    errors = 1 + signs * logits.detach().flatten().double().numpy()
    order = np.argsort(-errors)
    weights = np.diff(jaccard_losses(truth[order]), prepend=0.0)
    expected = np.zeros(count)
    expected[order] = weights * signs[order] * (errors[order] > 0)
    assert_close(gradient.flatten().double(), torch.tensor(expected), rtol=1e-3, atol=1e-12)


def test_the_mix_is_the_weighted_sum(logits, masks):
    for mix, names in ((medis_mix, MEDIS), (notebook_mix, NOTEBOOK)):
        log_cosh, entropy_and_dice = (
            names["log_cosh_dice" if mix is medis_mix else "notebook_log_cosh_dice"],
            list(names.values())[2],
        )
        first, _, _, exponential, lovasz, _ = names.values()
        expected = (
            0.21 * first(logits, masks) + 0.18 * log_cosh(logits, masks)
            + 0.20 * entropy_and_dice(logits, masks) + 0.15 * exponential(logits, masks)
            + 0.26 * lovasz(logits, masks)
        )  # fmt: skip
        assert_close(mix(logits, masks), expected)


def test_both_sets_have_the_same_order():
    assert [f"notebook_{name}".replace("medis_", "") for name in MEDIS] == list(NOTEBOOK)
    assert MEDIS["bce_dice"] is bce_dice


def jaccard_losses(truth):
    """Jaccard loss when the first one, two, three ... of these pixels are wrong."""
    truth = truth.astype(float)
    kept, union = truth.sum() - truth.cumsum(), truth.sum() + (1 - truth).cumsum()
    return 1 - kept / union


def stretched(z):
    p = sigmoid(z)
    return (p - p.min()) / (p.max() - p.min() + 1e-8)


def score(p, t):
    return 2 * (p * t).sum() / (p.sum() + t.sum())


def mean_entropy(p, t):
    """As torch computes it: no logarithm is below -100."""
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(p), -100), np.maximum(np.log(1 - p), -100)
    return -(t * logs[0] + (1 - t) * logs[1]).mean()


def notebook_structure_formula(z, t):
    p, w = stretched(z), edges(t)
    return (w * entropy(p, t).mean()).sum() / w.sum() + weighted_iou(sigmoid(p), t, w)


def notebook_lovasz_formula(z, t):
    """Row by row: the map comes without a batch axis, and its rows pass for images."""
    rows = zip(stretched(z).reshape(-1, z.shape[-1]), t.reshape(-1, t.shape[-1]), strict=True)
    return np.mean([lovasz_formula(p, truth) for p, truth in rows])


def lovasz_formula(p, t):
    errors = 1 - p * (2 * t - 1)
    order = np.argsort(-errors, kind="stable")
    growth = np.diff(jaccard_losses(t[order]), prepend=0.0)
    return np.maximum(errors[order], 0) @ growth


FORMULAS = {
    notebook_structure: notebook_structure_formula,
    notebook_log_cosh_dice: lambda z, t: np.log(np.cosh(1 - score(stretched(z), t))),
    notebook_bce_dice: lambda z, t: mean_entropy(stretched(z), t) + 1 - score(stretched(z), t),
    notebook_exponential_log: lambda z, t: (
        0.5 * np.log(1 - score(stretched(z), t)) ** 2
        + 0.5 * np.log(mean_entropy(stretched(z), t)) ** 2
    ),
    notebook_lovasz_hinge: notebook_lovasz_formula,
}


@pytest.mark.parametrize(
    ("loss", "formula"), FORMULAS.items(), ids=[loss.__name__ for loss in FORMULAS]
)
def test_the_notebooks_formulas(loss, formula, logits, masks):
    assert_close(loss(logits, masks), per_image(formula, logits, masks), rtol=1e-6, atol=1e-8)


# What the notebooks give for one map and for PraNet's four: the maps of the test below, in order of
# NOTEBOOK, run once with their code.
RUN = {
    1: (1.427187, 0.225901, 4.433145, 0.933147, 1.554871, 1.771239),
    4: (5.547153, 0.196944, 1.478868, 0.111109, 1.469206, 1.894786),
}


@pytest.mark.parametrize("maps", RUN)
def test_the_notebooks_as_they_run(maps):
    place = torch.arange(4 * 6 * 8.0).view(1, 4, 6, 8)
    logits = 3 * torch.sin(0.7 * place + 0.1 * place**1.5)
    mask = torch.zeros(1, 1, 6, 8, dtype=torch.bool)
    mask[:, :, 1:4, 2:6] = True
    values = torch.cat([loss(logits[:, :maps], mask) for loss in NOTEBOOK.values()])
    assert_close(values, torch.tensor(RUN[maps]), rtol=1e-4, atol=1e-5)


def test_the_notebooks_mix_stretches_once(logits, masks):
    """At a wrong 0 or 1 the slope is 1e12: what is added up before it cancels is as published."""
    value = notebook_mix(logits.requires_grad_(), torch.ones_like(masks)).sum()
    seen, left = [], [value.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.append(node)
            left += [parent for parent, _ in node.next_functions]
    assert sum(node.name() == "AmaxBackward0" for node in seen) == 1


def test_the_notebooks_exponential_log_rises_towards_the_truth(masks):
    blur = torch.randn(masks.shape, generator=torch.Generator().manual_seed(0))
    better, worse = (torch.where(masks, 1.0, -1.0) + size * blur for size in (0.1, 0.5))
    assert (bce(better, masks) < bce(worse, masks)).all()
    assert (exponential_log(better, masks) < exponential_log(worse, masks)).all()
    assert (notebook_exponential_log(better, masks) > notebook_exponential_log(worse, masks)).all()


def test_the_notebooks_dice_cannot_move_towards_a_black_target(logits):
    logits.requires_grad_()
    value = notebook_log_cosh_dice(logits, torch.zeros_like(logits, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert not gradient.any()
