"""Whole networks in the loop: batch statistics, side maps, scales and the structure loss."""

import pytest
import torch
from torch import nn

from palpate.attacks.losses.medis import structure
from palpate.models import load_model, wrap
from palpate.training import TrainingSettings, train
from palpate.training.criterion import criterion_of
from palpate.training.train import DeeplySupervised, trainable

from ..models.small import SMALL
from . import runs


def prepared(name, seed=0):
    model = load_model(name, options=SMALL[name], seed=seed)
    model.learn("all")
    return model


@pytest.mark.parametrize("name", ["monai/unet", "pranet"])
def test_the_best_epoch_is_what_the_checkpoint_holds(name, train_data, val_data, tmp_path):
    model = prepared(name)
    before = {k: v.clone() for k, v in model.net.state_dict().items()}
    train(model, train_data, val_data, tmp_path, runs.settings(epochs=2))
    best = load_model(tmp_path)
    moved = [k for k, v in best.net.state_dict().items() if not v.equal(before[k])]
    idle = {k for k in before if k.startswith("resnet.fc.")}
    assert idle.isdisjoint(moved)
    weights = {k for k, _ in model.net.named_parameters()} - idle
    assert len(set(moved) & weights) > 0.9 * len(weights)
    if name == "pranet":
        assert any("running_mean" in k for k in moved)


@pytest.mark.parametrize("stop", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_a_stopped_training_goes_on_to_the_same_weights_and_statistics(
    stop, train_data, val_data, tmp_path
):
    def run(folder, stop_after=None):
        def progress(stage, done, total, note=""):
            if done == stop_after:
                raise runs.Stopped

        model = prepared("pranet")
        settings = runs.settings(epochs=2, loss="structure", scales=(1.0, 2.0))
        train(model, train_data, val_data, folder, settings, progress=progress)

    run(tmp_path / "whole")
    with pytest.raises(runs.Stopped):
        run(tmp_path / "parts", stop)
    run(tmp_path / "parts")
    for name in ("state.safetensors", "weights.safetensors"):
        runs.same_tensors(
            runs.tensors(tmp_path / "whole", name), runs.tensors(tmp_path / "parts", name)
        )
    assert any("running_mean" in name for name in runs.tensors(tmp_path / "whole"))


def test_the_structure_loss_is_the_one_that_medis_attacks():
    logits, masks = torch.randn(3, 1, 20, 20), torch.rand(3, 1, 20, 20) > 0.5
    ours = criterion_of(TrainingSettings(loss="structure"))(logits, masks.float())
    torch.testing.assert_close(ours, structure(logits, masks).mean())


def test_the_structure_loss_by_hand():
    """One pixel of four is foreground; a window larger than the image sees a quarter of it."""
    logits, masks = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    masks[..., 0, 0] = 1
    around = 1 / 31**2
    weights = [1 + 5 * (1 - around)] + 3 * [1 + 5 * around]
    shared, total = 0.5 * weights[0], 0.5 * sum(weights) + weights[0]
    wanted = torch.tensor(0.5).log().neg() + 1 - (shared + 1) / (total - shared + 1)
    found = criterion_of(TrainingSettings(loss="structure"))(logits, masks)
    torch.testing.assert_close(found, wanted)


def test_the_published_loss_has_the_value_and_gradient_of_the_published_formula():
    """MONAI's DiceCELoss is given probabilities, with its own sigmoid switched off."""
    draw = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(3, 1, 9, 7, generator=draw, dtype=torch.float64)
    masks = torch.rand(3, 1, 9, 7, generator=draw, dtype=torch.float64)  # JPEG masks are grey
    masks[2] = 0
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()

    p = 1 / (1 + torch.exp(-theirs))
    areas = p.sum((1, 2, 3)) + masks.sum((1, 2, 3))
    dice = (2 * (p * masks).sum((1, 2, 3)) + 1e-5) / (areas + 1e-5)
    entropy = torch.log(1 + torch.exp(p)) - p * masks
    expected = 1.5 * (1 - dice).mean() + 1.0 * entropy.mean()
    expected.backward()

    found = criterion_of(TrainingSettings(loss="published"))(ours, masks)
    found.backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("loss", ["structure", "dice_bce", "published"])
def test_every_map_is_supervised(loss):
    criterion = criterion_of(TrainingSettings(loss=loss))
    maps, masks = torch.randn(2, 3, 8, 8), (torch.rand(2, 1, 8, 8) > 0.5).float()
    wanted = sum(criterion(maps[:, k : k + 1], masks) for k in range(3))
    torch.testing.assert_close(criterion(maps, masks), wanted)


def test_side_maps_are_for_training_only():
    model = prepared("pranet")
    taught = trainable(model, TrainingSettings())
    images, prompts = torch.rand(2, 3, 32, 32), ("polyp", "polyp")
    assert isinstance(taught, DeeplySupervised)
    assert taught.train()(images, prompts).shape == (2, 4, 32, 32)
    assert taught.eval()(images, prompts).equal(model(images))


def test_a_model_of_one_map_and_scale_is_trained_as_it_is():
    model = prepared("monai/unet")
    assert trainable(model, TrainingSettings()) is model


def test_scales_change_what_the_network_gets():
    sizes = []

    class Notes(nn.Conv2d):
        def forward(self, pixels):
            sizes.append(tuple(pixels.shape[2:]))
            return super().forward(pixels)

    model = wrap(Notes(3, 1, 1), input_size=32, multiple=8)
    taught = DeeplySupervised(model).train()
    for scale in (0.75, 1.0, 1.25):
        assert taught(torch.rand(1, 3, 20, 20), ("x",), scale=scale).shape == (1, 1, 20, 20)
    assert sizes == [(24, 24), (32, 32), (40, 40)]


def test_a_model_of_one_size_refuses_scales(model_folder, train_data, val_data, tmp_path):
    model = load_model(model_folder, "shallow-v", width=4)
    with pytest.raises(ValueError, match=r"cannot be trained at several scales, got 0\.5"):
        train(model, train_data, val_data, tmp_path, runs.settings(scales=(0.5,)))


def test_a_model_prompted_with_boxes_refuses_scales():
    model = wrap(nn.Conv2d(3, 1, 1), name="boxed")
    model.wants_boxes = True
    with pytest.raises(ValueError, match=r"boxed cannot be trained at several scales, got 0.5, 1"):
        trainable(model, TrainingSettings(scales=(0.5, 1.0)))


def test_another_part_that_learns_is_another_training(train_data, val_data, tmp_path):
    settings = runs.settings(epochs=2)
    train(prepared("pranet"), train_data, val_data, tmp_path, settings)
    model = prepared("pranet")
    model.learn("decoder")
    with pytest.raises(ValueError, match="holds a training with other settings"):
        train(model, train_data, val_data, tmp_path, settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "focal"}, "loss to be one of dice_bce, structure, published, got 'focal'"),
        ({"scales": ()}, "scales between 0.1 and 10"),
        ({"scales": (1.0, 0.0)}, "scales between 0.1 and 10"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**changes)
