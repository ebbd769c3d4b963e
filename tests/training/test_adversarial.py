"""Adversarial training: what the model learns from, and what the weights depend on."""

from functools import partial

import pytest
import torch
from torch import nn

from palpate.attacks import fgsm, pgd
from palpate.models import load_model
from palpate.training import train
from palpate.training.adversarial import (
    Adversarial,
    DivergenceFrom,
    Moment,
    divergence,
    fixed,
)
from palpate.training.batches import TrainingBatch
from palpate.training.watch import CatastrophicOverfittingWarning, Watch, watched

from .runs import Stopped, settings, table

START = Moment(epoch=0, step=0, steps=1, seed=0)
EPSILON = 8 / 255


class Bright(nn.Module):
    """One trainable number that scales the brightness."""

    def __init__(self, weight=4.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.modes = []

    def forward(self, images, prompts=None, **_):  # noqa: ARG002
        self.modes.append((self.training, self.weight.requires_grad))
        return (images.mean(1, keepdim=True) - 0.5) * self.weight


@pytest.fixture
def batch():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    return TrainingBatch(images, ("a",) * 4, images.mean(1, keepdim=True) > 0.5)


def only(adversarial, model, batch, moment=START):
    (found,) = adversarial.batches(model, batch, moment)
    return found


def test_the_attack_sees_fixed_weights_in_evaluation_mode(batch):
    model = Bright().train()
    only(Adversarial(partial(pgd, steps=2), EPSILON), model, batch)
    assert set(model.modes) == {(False, False)}
    assert model.training
    assert model.weight.requires_grad
    assert model.weight.grad is None


def test_images_are_attacked_within_the_radius(batch):
    found = only(Adversarial(fgsm, EPSILON), Bright(), batch)
    change = (found.inputs - batch.inputs).abs()
    assert torch.allclose(change, torch.full_like(change, EPSILON), atol=1e-6)
    assert found.masks is batch.masks


def test_a_share_of_the_batch_stays_clean(batch):
    found = only(Adversarial(fgsm, EPSILON, share=0.5), Bright(), batch)
    moved = (found.inputs != batch.inputs).flatten(1).any(1)
    assert moved.tolist() == [True, True, False, False]


def test_the_radius_rises_from_above_zero_to_epsilon():
    rising = Adversarial(fgsm, 0.1, warmup_epochs=1.5)
    radii = [rising.radius(Moment(e, s, 2, 0)) for e in range(3) for s in range(2)]
    assert radii == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1, 0.1, 0.1])


def test_the_draws_depend_on_seed_and_step_only(batch):
    attack = Adversarial(partial(pgd, steps=1), EPSILON)
    again = [only(attack, Bright(), batch, START).inputs for _ in range(2)]
    assert torch.equal(*again)
    for other in (START._replace(step=1, steps=2), START._replace(seed=1)):
        assert not torch.equal(again[0], only(attack, Bright(), batch, other).inputs)


def test_trades_adds_the_divergence_to_the_clean_loss(batch):
    hard = Adversarial(partial(pgd, steps=2), EPSILON, objective="trades", beta=3.0)
    model = Bright()
    both = only(hard, model, batch)
    assert torch.equal(both.inputs[:4], batch.inputs)
    clean, attacked = model(both.inputs, both.prompts).chunk(2)
    p, q = clean.sigmoid().double(), attacked.sigmoid().double()
    apart = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    assert apart > 0

    def criterion(logits, masks, ignored=None):
        assert ignored is None
        return nn.functional.binary_cross_entropy_with_logits(logits, masks)

    loss = hard.criterion(criterion)(torch.cat([clean, attacked]), both.masks.float())
    usual = criterion(clean, batch.masks.float())
    assert loss.item() == pytest.approx(usual.item() + 3 * apart.item(), rel=1e-4)


def test_the_divergence_ignores_ignored_pixels(batch):
    hard = Adversarial(fgsm, EPSILON, objective="trades", beta=1.0)
    clean, attacked = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    ignored = torch.tensor([[[[True, True], [False, False]]]])
    both = torch.cat([clean, attacked]).masked_fill(ignored, -16.0)
    loss = hard.criterion(lambda *_: torch.zeros(()))
    one = divergence(torch.tensor(1.0), torch.tensor(0.5)).item()
    got = loss(both, torch.zeros(2, 1, 2, 2), torch.cat([ignored] * 2))
    assert got.item() == pytest.approx(one)


def test_the_divergence_needs_every_image_of_the_batch():
    with pytest.raises(ValueError, match="without early_stop"):
        DivergenceFrom.of(torch.zeros(2, 1, 2, 2))(torch.zeros(1, 1, 2, 2), None)


def test_free_training_moves_the_perturbation_by_the_gradient_of_the_step(batch):
    free = Adversarial(None, EPSILON, replays=3)
    model, seen = Bright(), []
    for given in free.batches(model, batch, START):
        nn.functional.binary_cross_entropy_with_logits(
            model(given.inputs, None), batch.masks.float()
        ).backward()
        seen.append(given.inputs.detach())
    assert len(seen) == 3
    assert all((one - batch.inputs).abs().max() <= EPSILON + 1e-6 for one in seen)
    errors = [
        ((one.mean(1, keepdim=True) > 0.5) != batch.masks).float().mean().item() for one in seen
    ]
    assert errors[0] < errors[-1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epsilon": 0.0}, "above 0"),
        ({"epsilon": 2.0}, "2 / 255, not 2"),
        ({"share": 0.0}, "share"),
        ({"warmup_epochs": -1.0}, "warmup_epochs"),
        ({"objective": "trade"}, "attacked, trades"),
        ({"objective": "trades", "share": 0.5}, "share 1"),
        ({"objective": "trades", "beta": 0.0}, "beta"),
        ({"attack": None}, "replays >= 2"),
        ({"replays": 3}, "replays"),
    ],
)
def test_wrong_settings_are_named(wrong, said):
    with pytest.raises(ValueError, match=said):
        Adversarial(**({"attack": fgsm, "epsilon": EPSILON} | wrong))


def test_an_attack_that_leaves_the_ball_is_refused(batch):
    def rude(model, images, masks, *, epsilon):
        return (images + 2 * epsilon).clamp(0, 1)

    with pytest.raises(ValueError, match="no further than 8/255"):
        only(Adversarial(rude, EPSILON), Bright(), batch)


def test_weights_and_modes_come_back_after_an_error():
    model = Bright().train()
    with pytest.raises(RuntimeError, match="stop"), fixed(model):
        raise RuntimeError("stop")
    assert model.training
    assert model.weight.requires_grad


def harden(model_folder, data, validation, out, *, stop_after=None, adversarial=None):
    """Train adapters against PGD for 2 epochs; ``stop_after`` that many steps it is stopped."""
    model = load_model(model_folder, "dense-vl", width=4)

    def progress(stage, done, total, note=""):
        if done == stop_after:
            raise Stopped

    train(
        model, data, validation, out, settings(epochs=2),
        adversarial=adversarial or Adversarial(partial(pgd, steps=2), EPSILON, warmup_epochs=1),
        watch=Watch(partial(pgd, steps=2), EPSILON, images=2), progress=progress,
    )  # fmt: skip
    return model


@pytest.fixture(scope="module")
def hardened(model_folder, train_data, val_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hardened")
    return harden(model_folder, train_data, val_data, folder), folder


def test_the_best_epoch_is_that_of_the_mixture(hardened):
    _, folder = hardened
    rows = table(folder)
    for row in rows:
        mixed = (float(row["dsc"]) + float(row["attacked_dsc"])) / 2
        assert float(row["mixed_dsc"]) == pytest.approx(mixed)


def test_an_interrupted_adversarial_training_ends_with_the_same_weights(
    hardened, model_folder, train_data, val_data, tmp_path
):
    with pytest.raises(Stopped):
        harden(model_folder, train_data, val_data, tmp_path, stop_after=4)
    again = harden(model_folder, train_data, val_data, tmp_path)
    whole = hardened[0].net.state_dict()
    assert all(torch.equal(whole[name], t) for name, t in again.net.state_dict().items())
    assert table(tmp_path) == table(hardened[1])


def test_another_attack_is_another_training(hardened, model_folder, train_data, val_data):
    with pytest.raises(ValueError, match="other settings"):
        harden(model_folder, train_data, val_data, hardened[1], adversarial=Adversarial(fgsm, 0.1))


def test_a_collapse_under_attack_is_loud(val_data, tmp_path):
    from palpate.training.train import TrainingImages

    (tmp_path / "metrics.csv").write_text("epoch,attacked_dsc\n1,0.9\n")
    watch = Watch(fgsm, EPSILON, images=1)
    score = watched(
        lambda _: {"dsc": 1.0}, watch, TrainingImages(val_data), tmp_path / "metrics.csv",
        batch_size=4,
    )  # fmt: skip
    with pytest.warns(CatastrophicOverfittingWarning, match=r"from 0\.900 to 0\.000"):
        score(Bright(weight=-4.0))
