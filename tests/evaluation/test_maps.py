"""Metrics of probability maps against pysodmetrics, scikit-learn and the published definitions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from sklearn.metrics import average_precision_score

from palpate.attacks import noise
from palpate.evaluation import evaluate
from palpate.evaluation.metrics import METRICS, clipseg_scores, maps, pranet_scores

from .blobs import BlobFinder, blobs

OF_MAPS = (
    "dice_mean", "dice_max", "iou_mean", "iou_max", "f_weighted", "s_measure", "e_mean", "e_max",
    "mae", "average_precision", "best_iou",
)  # fmt: skip


@pytest.fixture(scope="module")
def reference():
    """30 maps with the values of pysodmetrics, see `make_map_reference.py`."""
    with np.load(Path(__file__).with_name("map_reference.npz")) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def pairs(reference):
    return torch.from_numpy(reference["maps"])[:, None], torch.from_numpy(reference["truths"])[
        :, None
    ]


def test_thirty_maps_have_the_scores_of_pysodmetrics(reference, pairs):
    found = [maps.mae(*pairs, None), maps.s_measure(*pairs), maps.f_weighted(*pairs)]
    assert torch.stack(found, 1).numpy() == pytest.approx(reference["scores"], abs=1e-12)
    curves = maps.curves_of(*pairs)
    means = [maps.dice_mean(curves), maps.iou_mean(curves), maps.e_mean(curves)]
    assert torch.stack(means, 1).numpy() == pytest.approx(reference["means"], abs=1e-12)
    found = torch.stack(curves, 1)[:, :, ::5].numpy()
    assert found == pytest.approx(reference["curves"], abs=1e-6)


def test_a_published_table_has_one_threshold_for_all_images(reference, pairs):
    told = pranet_scores(list(reference["maps"]), list(reference["truths"]))
    curves = maps.curves_of(*pairs)
    assert told["dice_mean"] == pytest.approx(maps.dice_mean(curves).mean().item())
    assert told["dice_max"] == pytest.approx(curves.dice.mean(0).max().item())
    assert told["dice_max"] < maps.dice_max(curves).mean().item()
    assert told["mae"] == pytest.approx(reference["scores"][:, 0].mean())
    assert told["f_weighted"] == pytest.approx(reference["scores"][:, 2].mean())


def test_a_map_is_stretched_and_rounded_as_pranet_stores_it():
    logits = torch.tensor([[[[-2.0, 0.0], [1.0, 0.5]]]])
    p = 1 / (1 + np.exp([2.0, 0.0, -1.0, -0.5]))
    expected = np.round(255 * (p - p.min()) / (p.max() - p.min() + 1e-8))
    assert maps.grey_maps(logits).flatten().tolist() == expected.tolist()
    assert maps.grey_maps(torch.full((1, 1, 2, 2), 3.0)).max() == 0
    ignored = torch.tensor([[[[True, False], [False, False]]]])
    assert maps.grey_maps(logits, ignored).flatten().tolist()[:2] == [0, 0]


def test_dice_and_iou_are_those_of_the_map_at_each_threshold(pairs):
    found, truth = pairs[0][0, 0].numpy(), pairs[1][0, 0].numpy()
    curves = maps.curves_of(pairs[0][:1], pairs[1][:1])
    for threshold in (0, 1, 100, 254, 255):
        predicted = found >= threshold
        both = (predicted & truth).sum()
        dice = 2 * both / (predicted.sum() + truth.sum())
        assert curves.dice[0, threshold].item() == pytest.approx(dice)
        assert curves.iou[0, threshold].item() == pytest.approx(both / (predicted | truth).sum())


def test_average_precision_is_that_of_scikit_learn(pairs):
    logits, truth = pairs[0][:6].double() / 32 - 4, pairs[1][:6]  # with ties
    expected = [
        average_precision_score(t.flatten().numpy(), x.flatten().numpy())
        for t, x in zip(truth, logits, strict=True)
    ]
    assert maps.average_precision(logits, truth, None).tolist() == pytest.approx(expected)
    ignored = torch.zeros_like(truth)
    ignored[..., :20] = True
    expected = average_precision_score(
        truth[0, 0, :, 20:].flatten().numpy(), logits[0, 0, :, 20:].flatten().numpy()
    )
    found = maps.average_precision(logits, truth & ~ignored, ignored)[0].item()
    assert found == pytest.approx(expected)


def test_scores_of_clipseg_are_pooled_over_all_pixels(reference):
    """The published definition, written down once more: confusion matrices at 49 thresholds."""
    found = [each / 255 for each in reference["maps"][:8]]
    truths = list(reference["truths"][:8])
    p, g = np.concatenate([x.ravel() for x in found]), np.concatenate([x.ravel() for x in truths])
    points, ious = set(), []
    for step in range(1, 50):
        positive = p > np.linspace(0, 1, 51)[step]
        tp, fp, fn = (positive & g).sum(), (positive & ~g).sum(), (~positive & g).sum()
        ious.append(tp / (1 + tp + fp + fn))
        if tp + fp > 0:
            points.add((tp / (1 + tp + fn), tp / (1 + tp + fp)))
    recall, precision = zip(*sorted(points, key=lambda point: point[0]), strict=True)
    told = clipseg_scores(found, truths)
    assert told["ap"] == pytest.approx(simpson(precision, x=recall))
    assert told["fgiou_best"] == pytest.approx(max(ious))
    assert told["threshold"] == pytest.approx(0.02 * (1 + int(np.argmax(ious))))


def test_the_best_iou_is_found_at_the_thresholds_of_clipseg(pairs):
    logits, truth = pairs[0][:4].double() / 32 - 4, pairs[1][:4]
    expected = [
        max(
            ((p > t) & g).sum().item() / ((p > t) | g).sum().item()
            for t in np.linspace(0, 1, 51)[1:-1]
        )
        for p, g in zip(logits.sigmoid(), truth, strict=True)
    ]
    assert maps.best_iou(logits, truth).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", OF_MAPS)
def test_metrics_of_maps_know_empty_masks_and_need_probabilities(name):
    metric = METRICS[name]
    mask = torch.zeros(1, 1, 6, 8, dtype=torch.bool)
    mask[..., 1:4, 2:5] = True
    empty = torch.zeros_like(mask)
    right, wrong = (
        metric(mask, mask, logits=8.0 * (2 * m - 1)) for m in (mask.float(), 1 - mask.float())
    )
    assert right > wrong if metric.direction == "higher" else right < wrong
    for prediction in (mask, empty):  # the range is checked
        value = metric(prediction, empty, logits=8.0 * (2 * prediction.float() - 1)).item()
        if metric.empty.startswith("0 if"):
            assert value == 0
    with pytest.raises(ValueError, match="pass logits="):
        metric(mask, mask)


def test_metrics_of_maps_are_columns_of_rows():
    rows = evaluate(BlobFinder(), blobs(2), {"noise": noise}, epsilons=[0.1], metrics=OF_MAPS)
    for name in OF_MAPS:
        assert rows[name].between(0, 1).all()
    clean = rows[rows["attack"] == "clean"]
    assert (clean["dice_max"] >= clean["dice_mean"]).all()


def test_maps_and_masks_that_do_not_fit_are_named():
    grey, mask = np.zeros((3, 4), np.uint8), np.zeros((3, 4), bool)
    with pytest.raises(ValueError, match="as many maps as masks, got 1 and 0"):
        pranet_scores([grey], [])
    with pytest.raises(ValueError, match=r"map 0 is float64 \(3, 4\)"):
        pranet_scores([grey / 255.0], [mask])
    with pytest.raises(ValueError, match=r"its mask bool \(4, 3\)"):
        clipseg_scores([grey / 255.0], [mask.T])
    with pytest.raises(ValueError, match=r"probability above 0\.02"):
        clipseg_scores([grey / 255.0], [mask])
