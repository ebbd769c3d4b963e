"""Ignored pixels count neither in the training loss nor in the choice of the best epoch."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from palpate.data import from_samples
from palpate.models import load_model
from palpate.training.batches import identity, stack
from palpate.training.criterion import criterion_of
from palpate.training.features import cache_features
from palpate.training.train import TrainingImages

from .conftest import SIDE
from .runs import settings, table, tune

RIGHT = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
RIGHT[..., SIDE // 2 :] = True


def partly(data, *, flipped=False):
    """The samples with the right half ignored, where the mask may be wrong."""
    masks = [sample.mask ^ RIGHT if flipped else sample.mask for sample in data]
    samples = [replace(s, mask=m, ignored=RIGHT) for s, m in zip(data, masks, strict=True)]
    return from_samples(samples, split=data.split)


def test_training_does_not_depend_on_masks_where_they_are_ignored(
    model_folder, train_data, val_data, tmp_path
):
    for name, flipped in (("one", False), ("two", True)):
        data, validation = (partly(each, flipped=flipped) for each in (train_data, val_data))
        tune(model_folder, data, validation, tmp_path / name)
    assert table(tmp_path / "one") == table(tmp_path / "two")


@pytest.mark.parametrize("loss", ["dice_bce", "structure", "published"])
def test_no_gradient_reaches_ignored_pixels(loss, train_data):
    from palpate.prompting import without_ignored

    batch = stack([TrainingImages(partly(train_data))[index] for index in range(2)])
    logits = torch.randn(2, 1, SIDE, SIDE, requires_grad=True)
    criterion_of(settings(loss=loss))(
        without_ignored(logits, batch.ignored), batch.masks.float()
    ).backward()
    assert logits.grad[..., SIDE // 2 :].abs().max() == 0
    assert logits.grad[..., : SIDE // 2].abs().max() > 0


@pytest.mark.parametrize("loss", ["dice_bce", "structure", "published"])
def test_the_mean_of_the_loss_is_over_pixels_that_count(loss):
    from palpate.prompting import without_ignored

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 16, 16, generator=generator)
    ignored = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    ignored[..., 8:] = True
    masks = torch.zeros(2, 1, 16, 16)  # without edges every pixel has the same weight
    wanted = settings(loss=loss, dice_weight=0.0)
    given = criterion_of(wanted)(without_ignored(logits, ignored), masks, ignored)
    alone = criterion_of(wanted)(logits[..., :8], masks[..., :8])
    assert_close(given, alone)


def test_cached_features_keep_ignored_pixels(model_folder, train_data, tmp_path):
    cached = cache_features(load_model(model_folder), partly(train_data), tmp_path, batch_size=4)
    assert torch.equal(cached[3].ignored, RIGHT)
    assert not (cached[3].masks & RIGHT).any()


def test_a_training_is_resumed_only_with_the_same_reading_of_masks(train_data):
    picked = replace(
        train_data, entries=tuple(replace(e, rule=_rule(e)) for e in train_data.entries)
    )
    assert picked.cases == train_data.cases
    assert identity(picked) != identity(train_data)


def _rule(entry):
    return replace(entry.rule, ignore=(255,))
