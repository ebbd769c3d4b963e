import warnings
from math import hypot
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from palpate.evaluation.metrics import METRICS, MetricInputs
from palpate.evaluation.metrics.boundary import hausdorff95, surface_dice


class BoundaryScores(NamedTuple):
    hausdorff95: torch.Tensor
    surface_dice: torch.Tensor


def boundary_scores(predictions, masks, tolerance=2.0, spacing=None):
    """Both metrics as an evaluation computes them: from one computation of the distances."""
    inputs = MetricInputs(predictions, masks, tolerance=tolerance, spacing=spacing)
    return BoundaryScores(*(METRICS[name].of(inputs).float() for name in ("hd95", "nsd")))


EMPTY = torch.zeros(1, 1, 6, 8, dtype=torch.bool)
SPACINGS = [None, (1.0, 1.0), (0.5, 2.0)]


def box(rows, columns, shape=(32, 48)):
    mask = torch.zeros(1, 1, *shape, dtype=torch.bool)
    mask[0, 0, slice(*rows), slice(*columns)] = True
    return mask


def noise(seed, shape, share=0.3):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


CASES = {
    "shifted": (box((4, 20), (5, 30)), box((7, 23), (5, 30))),
    "nested": (box((4, 20), (5, 30)), box((8, 12), (10, 12))),
    "far apart": (box((0, 2), (0, 3)), box((30, 32), (40, 48))),
    "single pixels": (box((3, 4), (4, 5)), box((6, 7), (8, 9))),
    "pixel and everything": (box((3, 4), (4, 5)), box((0, 32), (0, 48))),
    "everything": (box((0, 32), (0, 48)), box((0, 32), (0, 48))),
    "touching the border": (box((0, 10), (20, 48)), box((0, 32), (40, 48))),
    "one row": (box((5, 6), (0, 48)), box((5, 6), (3, 20))),
    "noise": (noise(0, (1, 1, 21, 33)), noise(1, (1, 1, 21, 33))),
    "sparse noise": (noise(2, (1, 1, 40, 40), 0.01), noise(3, (1, 1, 40, 40), 0.02)),
}
every_case = pytest.mark.parametrize(("predictions", "masks"), CASES.values(), ids=CASES)


@pytest.mark.reference
@pytest.mark.parametrize("spacing", SPACINGS)
@every_case
def test_equals_the_public_metrics_of_monai(predictions, masks, spacing):
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    scores = boundary_scores(predictions, masks, tolerance=1.5, spacing=spacing)
    arguments = {"include_background": True, "spacing": spacing}
    expected = compute_hausdorff_distance(predictions, masks, percentile=95, **arguments)
    assert_close(scores.hausdorff95, expected[:, 0])
    expected = compute_surface_dice(predictions, masks, [1.5], **arguments)
    assert_close(scores.surface_dice, expected[:, 0])


@pytest.mark.parametrize("spacing", SPACINGS)
@every_case
def test_equals_distances_between_all_pairs_of_edge_pixels(predictions, masks, spacing):
    first, second = (
        edge_pixels(mask[0, 0]) * np.array(spacing or 1) for mask in (predictions, masks)
    )
    table = np.linalg.norm(first[:, None] - second[None], axis=-1)
    there, back = table.min(1), table.min(0)
    scores = boundary_scores(predictions, masks, tolerance=2.0, spacing=spacing)
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    assert scores.hausdorff95.item() == pytest.approx(expected, rel=1e-6)
    near = np.mean(np.concatenate([there, back]) <= 2)
    assert scores.surface_dice.item() == pytest.approx(near)


def edge_pixels(mask):
    """Foreground with a neighbour, of four, that is not."""
    padded = np.pad(mask.numpy(), 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask.numpy() & ~inside).astype(float)


masks_of_any_size = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda shape: st.lists(
        st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]),
        min_size=2,
        max_size=2,
    ).map(lambda values: torch.tensor(values).view(2, 1, 1, *shape))
)


@given(masks_of_any_size)
def test_is_symmetric_bounded_and_perfect_on_itself(pair):
    a, b = pair
    scores, swapped = boundary_scores(a, b), boundary_scores(b, a)
    assert_close(tuple(scores), tuple(swapped))
    assert 0 <= scores.hausdorff95.item() <= hypot(*a.shape[2:]) * (1 + 1e-6)
    assert 0 <= scores.surface_dice.item() <= 1
    assert [score.item() for score in boundary_scores(a, a)] == [0, 1]


@given(masks_of_any_size, st.floats(0.1, 10))
def test_scales_with_the_spacing(pair, scale):
    plain = boundary_scores(*pair, tolerance=1.0, spacing=(1.0, 2.0))
    scaled = boundary_scores(*pair, tolerance=scale * 1.001, spacing=(scale, 2 * scale))
    assert_close(scaled.hausdorff95, scale * plain.hausdorff95)
    assert_close(scaled.surface_dice, plain.surface_dice)


def test_a_shift_by_three_pixels_is_a_distance_of_three():
    a, b = box((4, 20), (5, 30)), box((4, 20), (8, 33))
    assert hausdorff95(a, b).item() == 3
    assert hausdorff95(a, b, spacing=(1.0, 0.5)).item() == 1.5
    assert surface_dice(a, b, tolerance=3.0).item() == 1
    assert surface_dice(a, b, tolerance=2.9).item() < 1


def test_margin_around_both_changes_nothing():
    a, b = CASES["shifted"]
    wide = [torch.nn.functional.pad(mask, (9, 1, 4, 30)) for mask in (a, b)]
    assert_close(tuple(boundary_scores(*wide)), tuple(boundary_scores(a, b)), rtol=0, atol=0)


def test_empty_masks_follow_the_convention_without_a_warning():
    predictions = torch.cat([EMPTY, EMPTY, ~EMPTY])
    masks = torch.cat([EMPTY, ~EMPTY, EMPTY])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain, spaced = (boundary_scores(predictions, masks, spacing=s) for s in (None, (3.0, 0.5)))
    assert plain.hausdorff95.tolist() == [0, 10, 10]
    assert spaced.hausdorff95.tolist() == pytest.approx([0, hypot(18, 4), hypot(18, 4)])
    assert plain.surface_dice.tolist() == spaced.surface_dice.tolist() == [1, 0, 0]


@every_case
def test_computes_without_a_warning(predictions, masks):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boundary_scores(predictions, masks)


def test_images_do_not_influence_each_other():
    a, b = noise(4, (4, 1, 12, 17)), noise(5, (4, 1, 12, 17))
    a[1] = False
    alone = [boundary_scores(x[None], y[None]) for x, y in zip(a, b, strict=True)]
    together = boundary_scores(a, b)
    assert_close(together.hausdorff95, torch.cat([score.hausdorff95 for score in alone]))
    assert_close(together.surface_dice, torch.cat([score.surface_dice for score in alone]))


def test_leaves_its_inputs_alone_and_says_the_same_in_parts():
    a, b = CASES["noise"]
    copies = a.clone(), b.clone()
    assert_close(hausdorff95(a, b), boundary_scores(a, b).hausdorff95, rtol=0, atol=0)
    assert_close(surface_dice(a, b), boundary_scores(a, b, 2.0).surface_dice, rtol=0, atol=0)
    assert torch.equal(a, copies[0])
    assert torch.equal(b, copies[1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tolerance": -1.0}, "tolerance >= 0, got -1"),
        ({"tolerance": float("nan")}, "tolerance >= 0, got nan"),
        ({"spacing": (1.0, 0.0)}, r"above 0, got \(1.0, 0.0\)"),
        ({"spacing": (float("inf"), 1.0)}, "above 0, got .inf"),
    ],
)
def test_refuses_senseless_units(wrong, message):
    with pytest.raises(ValueError, match=message):
        boundary_scores(EMPTY, EMPTY, **wrong)
