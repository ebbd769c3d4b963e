"""What to aim at: other masks, the nearest, white and black."""

import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palpate import overlap as metrics
from palpate.attacks.medis.targets import TARGETS, overlaps, target_masks
from palpate.randomness import generator


def discs(*radii, size=16):
    grid = torch.arange(size) - size / 2
    squares = grid[:, None] ** 2 + grid[None] ** 2
    return torch.stack([(squares < r**2)[None] for r in radii])


def sources(count):
    return [generator(0, f"image-{i}") for i in range(count)]


@pytest.fixture
def without_shape_checks():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_white_is_all_foreground_and_black_none(masks):
    assert target_masks("white", masks).all()
    assert not target_masks("black", masks).any()
    assert target_masks("white", masks).shape == masks.shape


def test_the_nearest_mask_is_the_one_of_highest_miou_but_not_the_same():
    bank = discs(2, 3, 4, 7)
    aims = target_masks("nearest", bank[[0, 1, 3]], bank=bank)
    assert torch.equal(aims, bank[[1, 2, 2]])


def test_a_second_copy_of_the_own_mask_is_not_another():
    bank = discs(3, 3, 6)
    assert torch.equal(target_masks("nearest", bank[:1], bank=bank), bank[2:])
    for i in range(5):
        drawn = target_masks("random", bank[:1], bank=bank, generator=generator(i, "x"))
        assert torch.equal(drawn, bank[2:])


def test_random_targets_are_others_all_possible_and_depend_on_the_image_alone():
    bank = discs(2, 3, 4, 5, 6)
    masks = bank[[1] * 40]
    aims = target_masks("random", masks, bank=bank, generator=sources(40))
    drawn = {int(aim.sum()) for aim in aims}
    assert drawn == {int(mask.sum()) for mask in bank[[0, 2, 3, 4]]}
    again = target_masks("random", masks[5:9], bank=bank, generator=sources(40)[5:9])
    assert torch.equal(aims[5:9], again)


def test_a_mask_is_a_target_for_all_or_for_each(masks):
    assert torch.equal(target_masks(masks[:1], masks), masks[:1].expand_as(masks))
    assert torch.equal(target_masks(~masks, masks), ~masks)
    assert target_masks(masks, masks).data_ptr() != masks.data_ptr()


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5))
def test_overlaps_are_the_miou_of_the_evaluation_to_three_decimals(rows):
    bank = torch.tensor(rows).view(-1, 1, 2, 3)
    values = overlaps(bank, bank)
    for i in range(len(bank)):
        own = bank[i : i + 1].expand_as(bank)
        expected = metrics.miou(metrics.count(bank, own)).double()
        assert (values[i] - expected).abs().max() <= 0.000501


@pytest.mark.parametrize("target", ["random", "nearest"])
def test_rejects_a_bank_that_does_not_fit(target, masks, without_shape_checks):
    with pytest.raises(ValueError, match=f"bank of masks .* {target!r} from, got none; bind one"):
        target_masks(target, masks)
    for bank in (masks[..., :4], masks[:, 0], masks.float()):
        with pytest.raises(ValueError, match=r"bank of bool masks of shape \(n, 1, 8, 8\)"):
            target_masks(target, masks, bank=bank)
    with pytest.raises(ValueError, match=r"equal to the mask of images \[0\] of the batch"):
        target_masks(target, masks[:1], bank=masks[[0, 0]])


def test_rejects_targets_of_another_size_or_name(masks, without_shape_checks):
    for target in (masks[..., :4], masks[:2], masks.float(), masks[0]):
        with pytest.raises(ValueError, match=r"target of bool masks of shape \(1, 1, 8, 8\) or"):
            target_masks(target, masks)
    with pytest.raises(ValueError, match=f"one of {', '.join(TARGETS)}, got 'grey'"):
        target_masks("grey", masks)
    with pytest.raises(ValueError, match=r"one generator per image \(4\), got 3"):
        target_masks("random", masks, bank=masks, generator=sources(3))
