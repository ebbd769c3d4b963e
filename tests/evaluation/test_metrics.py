import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from palpate.evaluation.metrics import precision, recall
from palpate.overlap import (
    Counts,
    binarise,
    count,
    dice,
    iou,
    miou,
    require_pairs,
)

METRICS = [dice, iou, miou, precision, recall]
every_metric = pytest.mark.parametrize("metric", METRICS)
pixels = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=64)

EMPTY = torch.zeros(1, 1, 2, 3, dtype=torch.bool)


def as_masks(values):
    return torch.tensor(values).view(1, 1, 1, -1)


def pair(pairs):
    return tuple(as_masks(values) for values in zip(*pairs, strict=True))


def random_masks(seed, shape=(6, 1, 9, 14), share=0.4):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


@given(pixels)
def test_counts_are_set_sizes(pairs):
    counts = count(*pair(pairs))
    expected = [pairs.count(kind) for kind in ((1, 1), (1, 0), (0, 1), (0, 0))]
    assert [value.item() for value in counts] == expected
    assert counts.area.item() == sum(prediction for prediction, _ in pairs)
    assert counts.mask_area.item() == sum(truth for _, truth in pairs)


@given(pixels)
def test_dice_and_iou_determine_each_other(pairs):
    counts = count(*pair(pairs))
    assert_close(dice(counts), 2 * iou(counts) / (1 + iou(counts)))


@given(pixels)
def test_overlap_is_symmetric_and_bounded(pairs):
    a, b = pair(pairs)
    for metric in (dice, iou, miou):
        assert_close(metric(count(a, b)), metric(count(b, a)), rtol=0, atol=0)
        assert 0 <= metric(count(a, b)).item() <= 1
        assert metric(count(a, a)).item() == 1


@given(pixels)
def test_dice_agrees_with_set_arithmetic(pairs):
    a = {i for i, (x, _) in enumerate(pairs) if x}
    b = {i for i, (_, y) in enumerate(pairs) if y}
    expected = 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0
    assert dice(count(*pair(pairs))).item() == pytest.approx(expected)


@given(pixels)
def test_dice_is_the_harmonic_mean_of_precision_and_recall(pairs):
    counts = count(*pair(pairs))
    p, r = precision(counts).item(), recall(counts).item()
    assert dice(counts).item() == pytest.approx(2 * p * r / (p + r) if p + r else 0.0)


@given(pixels)
def test_precision_and_recall_swap_with_prediction_and_truth(pairs):
    a, b = pair(pairs)
    assert_close(precision(count(a, b)), recall(count(b, a)), rtol=0, atol=0)


@given(pixels)
def test_miou_averages_the_classes_that_are_there(pairs):
    a, b = pair(pairs)
    classes = [(a, b), (~a, ~b)]
    present = [iou(count(x, y)).item() for x, y in classes if (x | y).any()]
    assert miou(count(a, b)).item() == pytest.approx(sum(present) / len(present))


@every_metric
def test_images_do_not_influence_each_other(metric):
    predictions, masks = random_masks(0), random_masks(1)
    alone = [metric(count(p[None], m[None])) for p, m in zip(predictions, masks, strict=True)]
    assert_close(metric(count(predictions, masks)), torch.cat(alone), rtol=0, atol=0)


@every_metric
def test_empty_on_empty_is_perfect_and_one_sided_is_worthless(metric):
    assert metric(count(EMPTY, EMPTY)).tolist() == [1]
    assert metric(count(~EMPTY, EMPTY)).tolist() == [0]
    assert metric(count(EMPTY, ~EMPTY)).tolist() == [0]
    assert metric(count(~EMPTY, ~EMPTY)).tolist() == [1]


def test_a_missed_single_pixel_costs_everything_but_the_background():
    mask = EMPTY.clone()
    mask[0, 0, 1, 2] = True
    counts = count(EMPTY, mask)
    assert [metric(counts).item() for metric in (dice, iou, precision, recall)] == [0, 0, 0, 0]
    assert miou(counts).item() == pytest.approx((0 + 5 / 6) / 2)


def test_large_images_do_not_overflow():
    counts = Counts(*(torch.tensor([3_000_000_000]) for _ in range(4)))
    assert dice(counts).item() == pytest.approx(0.5)
    assert iou(counts).item() == pytest.approx(1 / 3)


@pytest.mark.reference
def test_overlap_equals_monai():
    from monai.metrics import compute_dice, compute_iou

    predictions, masks = random_masks(0), random_masks(1)
    predictions[0] = masks[0] = False
    counts = count(predictions, masks)
    expected = compute_dice(predictions.float(), masks.float(), ignore_empty=False)[:, 0]
    assert_close(dice(counts), expected)
    expected = compute_iou(predictions.float(), masks.float(), ignore_empty=False)[:, 0]
    assert_close(iou(counts), expected)


@pytest.mark.reference
def test_overlap_equals_torchmetrics():
    from torchmetrics.functional import classification as theirs

    predictions, masks = random_masks(2), random_masks(3)
    counts = count(predictions, masks)
    for ours, reference in (
        (dice, theirs.binary_f1_score),
        (iou, theirs.binary_jaccard_index),
        (precision, theirs.binary_precision),
        (recall, theirs.binary_recall),
    ):
        rows = zip(predictions.int(), masks.int(), strict=True)
        assert_close(ours(counts), torch.stack([reference(p, m) for p, m in rows]))


@pytest.mark.reference
def test_miou_equals_torchmetrics_where_both_classes_are_there():
    from torchmetrics.functional.segmentation import mean_iou

    predictions, masks = random_masks(2), random_masks(3)
    classes = ([~predictions, predictions], [~masks, masks])
    one_hot = [torch.cat(pair, dim=1).int() for pair in classes]
    expected = mean_iou(*one_hot, num_classes=2, per_class=True).mean(1)
    assert_close(miou(count(predictions, masks)), expected)


@given(st.floats(-5, 5, width=32), st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=9))
def test_binarise_is_strict(threshold, values):
    logits = torch.tensor([*values, threshold]).view(1, 1, 1, -1)
    found = binarise(logits, threshold).flatten().tolist()
    assert found == [value > threshold for value in values] + [False]


def test_binarise_takes_infinity_and_refuses_nan():
    logits = torch.zeros(3, 1, 1, 2)
    logits[0, 0, 0, 0] = torch.inf
    assert binarise(logits).sum() == 1
    logits[2, 0, 0, 1] = torch.nan
    with pytest.raises(FloatingPointError, match=r"got NaN in images \[2\]"):
        binarise(logits)


@pytest.mark.parametrize(
    ("predictions", "masks", "message"),
    [
        (EMPTY, EMPTY.expand(2, 1, 2, 3), "one shape, got .1, 1, 2, 3. and .2, 1, 2, 3."),
        (EMPTY.float(), EMPTY, "boolean predictions and masks, got torch.float32 and torch.bool"),
        (EMPTY, EMPTY.to(torch.uint8), "got torch.bool and torch.uint8; binarise first"),
    ],
)
def test_refuses_what_torch_would_broadcast(predictions, masks, message):
    with pytest.raises(ValueError, match=message):
        require_pairs(predictions, masks)
    with pytest.raises(ValueError, match=message):  # without the shape checks of the test suite
        inspect.unwrap(count)(predictions, masks)
