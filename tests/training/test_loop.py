"""The loop on a model of four weights, where everything can be worked out by hand."""

import gc
import math
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from palpate.training import TrainingSettings
from palpate.training.batches import TrainingBatch
from palpate.training.loop import fit
from palpate.training.schedule import rate_on_plateau, warmup_cosine

from .runs import Stopped, same_tensors, table, tensors


class PixelModel(nn.Module):
    """Logit = w . pixel + bias."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        nn.init.constant_(self.conv.weight, 0.5)
        nn.init.constant_(self.conv.bias, -0.2)

    def forward(self, inputs, *_):
        return self.conv(inputs)


class Items(torch.utils.data.Dataset):
    """Random images, of which the bright half is foreground."""

    def __init__(self, count=5, seed=0):
        self.images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        self.masks = self.images.mean(dim=1, keepdim=True) > 0.5
        self.epochs = []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return TrainingBatch(self.images[index], ("",), self.masks[index])

    def with_epoch(self, epoch):
        view = Items.__new__(Items)
        view.images, view.masks, view.epochs = self.images, self.masks, []
        self.epochs.append((epoch, weakref.ref(view)))
        return view


def settings(**changes):
    return TrainingSettings(**({"epochs": 3, "batch_size": 2, "warmup_epochs": 0.0} | changes))


def train(folder, model=None, *, scores=(), chosen=None, data=None, **changes):
    """Run the loop; validation gives ``scores`` in turn, ``chosen`` collects the best epochs."""
    scores = iter(scores)

    def validate(module):
        assert not module.training
        return {"dsc": next(scores, 0.5)}

    return fit(
        PixelModel() if model is None else model,
        Items() if data is None else data,
        validate,
        settings(**changes),
        folder,
        keep_best=(lambda _: None) if chosen is None else chosen,
        identity="test",
    )


@pytest.mark.parametrize("tenths", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_the_published_schedule_has_the_published_values(tenths, tmp_path):
    """200 epochs, a tenth of them for warm-up; or a tenth of it all."""
    history = train(
        tmp_path,
        epochs=10 * tenths,
        schedule="epoch",
        warmup_epochs=float(tenths),
        batch_size=5,
    )
    rates = [row["learning_rate"] for row in history]
    assert rates[0] == 0
    assert rates[1] == pytest.approx(1e-3 / tenths)
    assert rates[tenths] == 1e-3
    assert rates[11 * tenths // 2] == pytest.approx(1e-5 + 0.99e-3 * 0.5)
    before_last = (1 + math.cos(math.pi * (1 - 1 / (9 * tenths)))) / 2
    assert rates[-1] == pytest.approx(1e-5 + 0.99e-3 * before_last, rel=1e-4)


def test_stepwise_the_rate_rises_from_the_first_step_and_ends_on_the_floor(tmp_path):
    history = train(tmp_path, epochs=4, warmup_epochs=1.0, learning_rate=0.1)
    rates = [row["learning_rate"] for row in history]
    assert rates[0] == pytest.approx(0.1)  # the last step of the warm-up reaches the peak
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(0.001)


def test_the_published_first_epoch_changes_nothing(tmp_path):
    model, weights = PixelModel(), []
    train(
        tmp_path,
        model,
        scores=[0.1, 0.2, 0.3],
        chosen=lambda _: weights.append(model.conv.weight.detach().clone()),
        schedule="epoch",
        warmup_epochs=1.0,
    )
    assert torch.equal(weights[0], PixelModel().conv.weight)
    assert not torch.equal(weights[1], weights[0])


def test_without_warm_up_the_cosine_starts_at_its_peak():
    assert warmup_cosine(0, 0, 10) == 1
    assert warmup_cosine(10, 0, 10, 0.2) == pytest.approx(0.2)
    assert warmup_cosine(5, 5, 5) == pytest.approx(1.0)  # nothing but warm-up


def test_the_loss_is_soft_dice_and_cross_entropy_on_logits(tmp_path):
    data, model = Items(2), PixelModel()
    with torch.no_grad():
        logits = model(data.images, ())
    truth, soft = data.masks.float(), logits.sigmoid()
    overlap = (2 * (soft * truth).sum((1, 2, 3)) + 1e-5) / ((soft + truth).sum((1, 2, 3)) + 1e-5)
    dice, entropy = (1 - overlap).mean(), F.binary_cross_entropy_with_logits(logits, truth)
    (row,) = train(tmp_path, data=data, epochs=1)
    assert row["loss"] == pytest.approx((1.5 * dice + entropy).item(), rel=1e-5)
    (row,) = train(tmp_path / "b", data=data, epochs=1, dice_weight=0.5, bce_weight=2.0)
    assert row["loss"] == pytest.approx((0.5 * dice + 2 * entropy).item(), rel=1e-5)


def test_training_lowers_the_loss_and_keeps_the_record(tmp_path):
    history = train(tmp_path, epochs=5, learning_rate=0.3)
    losses = [row["loss"] for row in history]
    assert losses == sorted(losses, reverse=True)
    assert [row["epoch"] for row in table(tmp_path)] == ["1", "2", "3", "4", "5"]
    assert [float(row["loss"]) for row in table(tmp_path)] == losses
    assert all(row["seconds"] > 0 and row["peak_memory_mb"] > 10 for row in history)


def test_every_epoch_has_its_own_order_which_the_seed_decides(tmp_path):
    class Seen(PixelModel):
        def __init__(self):
            super().__init__()
            self.batches = []

        def forward(self, inputs, *_):
            self.batches.append(inputs[:, 0, 0, 0].tolist())
            return super().forward(inputs)

    def epochs(name, **changes):
        model = Seen()
        train(tmp_path / name, model, epochs=2, **changes)
        flat = [pixel for batch in model.batches for pixel in batch]
        return flat[:5], flat[5:]

    first, second = epochs("a")
    assert sorted(first) == sorted(second)
    assert first != second
    assert epochs("b") == (first, second)
    assert epochs("c", seed=1) != (first, second)


class Dropping(PixelModel):
    """Drops half of the pixels, and remembers which."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def forward(self, inputs, *_):
        kept = F.dropout(torch.ones_like(inputs[:, :1]), 0.5, self.training)
        self.kept.append(kept)
        return super().forward(inputs * kept)


def dropped_pixels(folder, seed):
    """Which pixels each step of two epochs of two steps keeps, epoch by epoch."""
    model = Dropping()
    train(folder, model, epochs=2, data=Items(4), seed=seed)
    return torch.stack(model.kept).unflatten(0, (2, 2))


def test_dropout_draws_anew_in_every_epoch_and_step_by_the_seed_alone(tmp_path):
    torch.manual_seed(17)  # the state of torch's own generator must not matter
    first, second = dropped_pixels(tmp_path / "a", seed=0)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    torch.manual_seed(99)
    again = dropped_pixels(tmp_path / "again", seed=0)
    assert torch.equal(again, torch.stack([first, second]))
    assert not torch.equal(dropped_pixels(tmp_path / "b", seed=1)[0], first)


def test_the_best_epoch_is_kept_and_ties_keep_the_earlier(tmp_path):
    kept = []
    train(tmp_path, scores=[0.2, 0.9, 0.9, 0.4], epochs=4, chosen=lambda r: kept.append(r["epoch"]))
    assert kept == [1, 2]


def test_epochs_that_are_not_validated_are_not_chosen(tmp_path):
    kept = []
    history = train(
        tmp_path,
        scores=[0.5, 0.6, 0.7],
        epochs=5,
        validate_every=2,
        chosen=lambda r: kept.append(r["epoch"]),
    )
    assert kept == [2, 4, 5]  # the last one always is
    assert [row["dsc"] for row in table(tmp_path)] == ["", "0.5", "", "0.6", "0.7"]
    assert "dsc" not in history[0]


def test_killed_after_the_best_was_kept_the_epoch_is_done_again(tmp_path):
    kept = []

    def killed(row):
        kept.append(row["epoch"])
        if len(kept) == 2:
            raise Stopped

    scores = [0.1, 0.2, 0.3]
    train(tmp_path / "whole", scores=scores)
    with pytest.raises(Stopped):
        train(tmp_path / "parts", scores=scores, chosen=killed)
    train(tmp_path / "parts", scores=scores[1:], chosen=killed)
    assert kept == [1, 2, 2, 3]
    same_tensors(tensors(tmp_path / "whole"), tensors(tmp_path / "parts"))
    assert table(tmp_path / "whole") == table(tmp_path / "parts")


def test_two_trainings_of_one_process_may_differ_in_precision(tmp_path):
    full = train(tmp_path / "full", epochs=1)
    half = train(tmp_path / "half", epochs=1, precision="bf16")
    again = train(tmp_path / "again", epochs=1)
    assert full[0]["loss"] == again[0]["loss"]
    assert full[0]["loss"] != half[0]["loss"]
    assert half[0]["loss"] == pytest.approx(full[0]["loss"], rel=1e-2)


def test_samples_of_past_epochs_are_let_go(tmp_path):
    data = Items()
    train(tmp_path, data=data, epochs=4)
    gc.collect()
    assert [epoch for epoch, _ in data.epochs] == [0, 1, 2, 3]
    assert [epoch for epoch, view in data.epochs[:-1] if view() is not None] == []


def test_a_loss_that_is_not_a_number_stops_the_training_and_loses_nothing(tmp_path):
    class Breaking(PixelModel):
        steps = 0

        def forward(self, inputs, *_):
            self.steps += 1
            return super().forward(inputs) * (math.nan if self.steps == 8 else 1.0)

    with pytest.raises(FloatingPointError, match=r"training loss is nan in epoch 3, step 2.*fp32"):
        train(tmp_path, Breaking())
    assert len(table(tmp_path)) == 2
    train(tmp_path)
    assert len(table(tmp_path)) == 3


def test_a_gradient_that_is_not_finite_stops_the_training(tmp_path):
    class Cliff(PixelModel):
        def forward(self, inputs, *_):
            return (self.conv(inputs) * 0).abs().sqrt()  # slope 0 * infinity at 0

    model = Cliff()
    with pytest.raises(FloatingPointError, match="gradient's norm is nan in epoch 1, step 1"):
        train(tmp_path, model)
    assert model.conv.weight.isfinite().all()


def test_a_zero_gradient_stops_the_training(tmp_path):
    class Deaf(PixelModel):
        def forward(self, inputs, *_):
            return self.conv(inputs) * 0

    with pytest.raises(FloatingPointError, match="gradient is zero in epoch 1, step 1"):
        train(tmp_path, Deaf())


def test_the_gradient_is_clipped(tmp_path):
    """AdamW hides a scaled gradient from the weights, but not from its second moment."""
    train(tmp_path, epochs=1, batch_size=5, clip_norm=1e-3)
    moments = [v for k, v in tensors(tmp_path).items() if k.endswith("exp_avg_sq")]
    norm = sum(moment.sum() for moment in moments).item() / (1 - 0.999)
    assert norm == pytest.approx(1e-6, rel=1e-2)


def test_nothing_to_train_is_refused_before_a_folder_is_made(tmp_path):
    frozen = PixelModel().requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter requires gradient; choose an adapter"):
        train(tmp_path / "new", frozen)
    with pytest.raises(ValueError, match="the training split is empty"):
        train(tmp_path / "new", data=Items(0))
    assert not (tmp_path / "new").exists()


def test_frozen_weights_stay(tmp_path):
    model = PixelModel()
    model.conv.bias.requires_grad_(False)
    train(tmp_path, model)
    assert model.conv.bias.item() == pytest.approx(-0.2)
    assert tensors(tmp_path).keys() == {
        "weight/conv.weight",
        *(f"moment/0/{name}" for name in ("step", "exp_avg", "exp_avg_sq")),
    }


class Watched(Items):
    """Images made when asked for; the most that were alive at once is remembered."""

    def __init__(self, count):
        super().__init__(count)
        self.alive, self.most = weakref.WeakSet(), 0

    def __getitem__(self, index):
        item = super().__getitem__(index)
        copy = item._replace(inputs=item.inputs.clone())
        self.alive.add(copy.inputs)
        self.most = max(self.most, len(self.alive))
        return copy

    def with_epoch(self, _):
        return self


def test_images_in_memory_depend_on_the_batch_alone(tmp_path):
    most = []
    for count in (6, 24):
        data = Watched(count)
        train(tmp_path / str(count), data=data)
        most.append(data.most)
    assert most[0] == most[1] <= 4  # a batch of two, and the one before


def test_the_rate_falls_when_the_validation_loss_does_not(tmp_path):
    """Five epochs are forgiven, the sixth reduces; a fall of less than 1e-4 is none."""
    losses = [1.0, 0.9, 0.95, 0.9, 0.89999, 0.9, 1.0, 0.9, 0.8, 0.8]
    options = settings(schedule="plateau", epochs=20, learning_rate=0.5)
    history = [{"validation_loss": loss} for loss in losses]
    rates = [rate_on_plateau(history[:n], options) for n in range(len(losses) + 1)]
    assert rates == pytest.approx([0.5] * 8 + [0.05] * 3)
    with pytest.raises(ValueError, match="validation loss for schedule plateau"):
        train(tmp_path, schedule="plateau")


@pytest.mark.parametrize(
    ("scores", "changes", "epochs"),
    [
        ([0.5, 0.6, 0.6, 0.60005, 0.9], {}, 4),  # an increase of 5e-5 is none
        ([0.5, 0.6, 0.6, 0.7, 0.6, 0.6, 0.9], {}, 6),
        ([0.5, 0.6, 0.6, 0.6, 0.9, 0.9, 0.9], {"min_epochs": 5}, 5),
        ([0.5, 0.5, 0.5, 0.9, 0.9, 0.9, 0.9], {"validate_every": 2}, 6),
        ([0.5] * 8, {"early_stopping": 0}, 8),
    ],
)
def test_training_ends_when_the_score_does_not_rise(scores, changes, epochs, tmp_path):
    options = {"epochs": 8, "early_stopping": 2} | changes
    assert len(train(tmp_path, scores=scores, **options)) == epochs
    assert len(train(tmp_path, scores=[0.99] * 8, **options)) == epochs  # it stays finished
