import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palpate.evaluation.outcome import failure_mode, success
from palpate.overlap import count, dice


def box(rows, columns, shape=(12, 16)):
    mask = torch.zeros(1, 1, *shape, dtype=torch.bool)
    mask[0, 0, slice(*rows), slice(*columns)] = True
    return mask


def mode(prediction, mask, tau=0.5):
    counts = count(prediction, mask)
    (only,) = failure_mode(dice(counts), counts.area, counts.mask_area, tau)
    return only


MASK = box((4, 8), (4, 8))
NOTHING = box((0, 0), (0, 0))
PREDICTIONS = {
    "itself": (MASK, "none"),
    "a little off": (box((4, 8), (5, 9)), "none"),
    "nothing": (NOTHING, "vanished"),
    "a quarter of it": (box((4, 8), (4, 5)), "vanished"),
    "half as much, elsewhere": (box((0, 2), (4, 8)), "vanished"),
    "more than half as much, elsewhere": (box((0, 3), (4, 7)), "shifted"),
    "as much, elsewhere": (box((8, 12), (4, 8)), "shifted"),
    "less than twice as much, elsewhere": (box((8, 11), (0, 10)), "shifted"),
    "twice as much, elsewhere": (box((8, 12), (4, 12)), "hallucinated"),
    "everything": (~NOTHING, "hallucinated"),
}


@pytest.mark.parametrize(("prediction", "expected"), PREDICTIONS.values(), ids=PREDICTIONS)
def test_failures_are_told_apart(prediction, expected):
    assert mode(prediction, MASK) == expected


def test_empty_masks_can_only_be_hallucinated_upon():
    assert mode(NOTHING, NOTHING) == "none"
    assert mode(box((0, 1), (0, 1)), NOTHING) == "hallucinated"


def test_a_lesion_of_one_pixel():
    pixel = box((3, 4), (3, 4))
    assert mode(pixel, pixel) == "none"
    assert mode(NOTHING, pixel) == "vanished"
    assert mode(box((5, 6), (5, 6)), pixel) == "shifted"
    assert mode(box((5, 7), (5, 6)), pixel) == "hallucinated"


def test_failure_depends_on_tau():
    third = box((4, 8), (4, 6))  # DSC 2/3, half the area
    assert mode(third, MASK, tau=0.5) == "none"
    assert mode(third, MASK, tau=0.7) == "vanished"


def test_images_are_judged_one_by_one():
    predictions, expected = zip(*PREDICTIONS.values(), strict=True)
    counts = count(torch.cat(predictions), MASK.expand(len(predictions), -1, -1, -1))
    assert failure_mode(dice(counts), counts.area, counts.mask_area) == list(expected)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40),
    st.floats(0, 63 / 64, width=32),  # as scores are; 1 / 3 has another neighbour in double
)
def test_a_mode_is_named_exactly_where_the_score_is_lost(pairs, tau):
    prediction, mask = (torch.tensor(v).view(1, 1, 1, -1) for v in zip(*pairs, strict=True))
    failed = dice(count(prediction, mask)).item() <= tau
    assert (mode(prediction, mask, tau) != "none") == failed


scores = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=9), st.floats(0, 0.75, width=32))
def test_success_is_crossing_tau_downwards(pairs, tau):
    clean, after = (torch.tensor(values) for values in zip(*pairs, strict=True))
    expected = [c > tau >= a for c, a in zip(clean.tolist(), after.tolist(), strict=True)]
    assert success(clean, after, tau).tolist() == expected


def test_success_at_tau_itself():
    half, more, less = torch.tensor([0.5]), torch.tensor([0.51]), torch.tensor([0.49])
    assert success(more, half).item()
    assert not success(half, less).item()  # already lost before the attack


@pytest.mark.parametrize("broken", [float("nan"), -0.1, 1.1])
def test_a_broken_score_is_not_robustness(broken):
    scores, broken = torch.tensor([0.9]), torch.tensor([broken])
    for clean, after in ((scores, broken), (broken, scores)):
        with pytest.raises(ValueError, match=r"Expected DSC in \[0, 1\], got"):
            success(clean, after)
    with pytest.raises(ValueError, match=r"Expected DSC in \[0, 1\], got"):
        failure_mode(broken, torch.tensor([3]), torch.tensor([3]))


@pytest.mark.parametrize("tau", [-0.1, 1.0, 50.0, float("nan")])
def test_refuses_a_senseless_tau(tau):
    with pytest.raises(ValueError, match="0 <= tau < 1, got"):
        success(torch.ones(1), torch.ones(1), tau)


def test_refuses_areas_that_contradict_the_score():
    none = torch.tensor([0])
    with pytest.raises(ValueError, match=r"not so at \[0\]"):
        failure_mode(torch.tensor([0.0]), none, none)
