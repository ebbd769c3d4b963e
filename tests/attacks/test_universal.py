"""One perturbation for all images: what it converges to, and that a fit can be repeated."""

import os
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from palpate.attacks import (
    UniversalPerturbation,
    ZeroGradientWarning,
    fit_universal,
    noise,
    pgd,
    universal,
)
from palpate.attacks.losses import Tsallis, bce, margin, tsallis
from palpate.attacks.threats import threat_model
from palpate.geometry import norms
from palpate.randomness import generator

EPSILON, LENGTH = 8 / 255, 0.5


class Scene(nn.Module):
    """Linear, and every logit sees its pixel with weights of its own."""

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(2)
        self.weight = nn.Parameter(torch.randn(3, 8, 8, generator=random))

    def forward(self, images):
        return (images * self.weight).sum(1, keepdim=True)


@pytest.fixture
def scene():
    return Scene().eval()


def batches(count=4, size=3, seed=0, side=8):
    """Images away from black and white; most masks alike, so that there is one direction."""
    random = torch.Generator().manual_seed(seed)
    usual = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(9)) > 0.5
    made = []
    for _ in range(count):
        images = 0.3 + 0.4 * torch.rand(size, 3, side, side, generator=random)
        masks = usual ^ (torch.rand(size, 1, side, side, generator=random) > 0.85)
        made.append((images, masks, None))
    return made


def in_one(samples):
    images, masks, _ = zip(*samples, strict=True)
    return torch.cat(images), torch.cat(masks), None


def mean_gradient(model, samples):
    """Of the margin over all images, where the model is linear."""
    signs = torch.cat([1 - 2 * masks.float() for _, masks, _ in samples]).mean(0)
    return signs * model.weight.detach()


@pytest.mark.parametrize("optimizer", ["sign", "adam"])
@pytest.mark.parametrize("random_start", [True, False])
def test_on_a_linear_model_it_is_the_sign_of_the_mean_gradient(optimizer, random_start, scene):
    samples = batches()
    whole = [in_one(samples)]
    fitted = fit_universal(
        scene, whole, epsilon=EPSILON, epochs=25, loss=margin, optimizer=optimizer,
        random_start=random_start,
    )  # fmt: skip
    best = EPSILON * mean_gradient(scene, samples).sign()
    assert_close(fitted.delta, best, rtol=0, atol=1e-6)


def test_in_l2_it_is_the_mean_gradient(scene):
    samples = batches()
    whole = [in_one(samples)]
    fitted = fit_universal(scene, whole, epsilon=LENGTH, norm="l2", epochs=150, loss=margin)
    gradient = mean_gradient(scene, samples)
    assert_close(fitted.delta, LENGTH * gradient / gradient.norm(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["sign", "adam"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_harms_held_out_images_more_than_noise_and_its_own_values_shuffled(optimizer, norm, scene):
    epsilon = EPSILON if norm == "linf" else LENGTH
    fitted = fit_universal(
        scene, batches(), epsilon=epsilon, norm=norm, optimizer=optimizer, epochs=8
    )
    (images, masks, _), = batches(count=1, size=40, seed=1)  # fmt: skip
    press = partial(universal, scene, images, masks, epsilon=epsilon, norm=norm)
    harm = {
        "none": images,
        "noise": noise(scene, images, masks, epsilon=epsilon, norm=norm, generator=generator(0)),
        "shuffled": press(perturbation=fitted, shuffled=True),
        "universal": press(perturbation=fitted),
        "pgd": pgd(scene, images, masks, epsilon=epsilon, norm=norm, loss=bce, keep="loss"),
    }
    harm = {name: bce(scene(x), masks).mean().item() for name, x in harm.items()}
    gain = harm["universal"] - harm["none"]
    assert gain > 0.3 * (harm["pgd"] - harm["none"])
    assert gain > 3 * abs(harm["noise"] - harm["none"])
    assert gain > 3 * abs(harm["shuffled"] - harm["none"])


@pytest.mark.parametrize("within", ["tied", {"border": 2}, {"low_frequency": 0.2}, {"periodic": 4}])
@pytest.mark.parametrize("optimizer", ["sign", "adam"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_obeys_its_threat_model_and_its_ball(within, optimizer, norm, scene):
    epsilon = EPSILON if norm == "linf" else LENGTH
    fitted = fit_universal(
        scene, batches(), epsilon=epsilon, norm=norm, optimizer=optimizer, within=within, epochs=3
    )
    delta = fitted.delta[None]
    assert norms(delta, norm).item() <= epsilon * (1 + 1e-6)
    assert norms(delta, norm).item() > 0.5 * epsilon
    kept = threat_model(within).project(delta, torch.ones(1, 1, 8, 8, dtype=torch.bool))
    assert_close(kept, delta, rtol=0, atol=1e-6)


def test_a_tile_is_fitted_by_the_mean_gradient_of_its_copies(scene):
    samples = batches()
    whole = [in_one(samples)]
    fitted = fit_universal(
        scene, whole, epsilon=EPSILON, epochs=25, loss=margin, within={"periodic": 4}
    )
    tile = mean_gradient(scene, samples).unflatten(1, (2, 4)).unflatten(3, (2, 4)).mean((1, 3))
    assert_close(fitted.delta, EPSILON * tile.sign().repeat(1, 2, 2), rtol=0, atol=1e-6)


def test_an_image_beyond_the_limit_has_no_say(scene):
    """The second image would pull the other way, but its loss is too high already."""
    images = torch.full((2, 3, 8, 8), 0.5)
    masks = torch.stack([torch.ones(1, 8, 8), torch.zeros(1, 8, 8)]).bool()
    shift = torch.tensor([3.0, 9.0]).view(2, 1, 1, 1)  # margins -3 and 9, but for the scene
    fit = partial(
        fit_universal, lambda x: scene(x) + shift, [(images, masks, None)], epsilon=EPSILON,
        epochs=25, loss=margin,
    )  # fmt: skip
    first = -EPSILON * scene.weight.detach().sign()
    assert_close(fit(clip=4.0).delta, first, rtol=0, atol=1e-6)
    # Towards these masks it is the first image, of the low loss, that is content.
    assert_close(fit(clip=4.0, targeted=True).delta, first, rtol=0, atol=1e-6)
    with pytest.warns(ZeroGradientWarning, match="nothing was fitted"):
        start = fit()
    assert (start.delta.abs() < EPSILON).any()


def test_a_pixel_that_black_or_white_cuts_off_has_no_gradient(scene):
    """Half of the images are white: up is closed to them, and they pull neither way."""
    grey = torch.full((1, 3, 8, 8), 0.5)
    images, masks = torch.cat([grey, grey * 2]), torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    seen = []

    def loss(logits, masks):
        seen.append(logits.detach())
        return logits.mean((1, 2, 3)) * torch.tensor([1.0, -2.0])

    fitted = fit_universal(
        lambda x: x.mean(1, keepdim=True), [(images, masks, None)], epsilon=0.1, epochs=30,
        loss=loss, random_start=False,
    )  # fmt: skip
    # From zero the white image pulls down with twice the force, and white is never cut off.
    assert_close(fitted.delta, torch.full_like(fitted.delta, -0.1))
    start = fit_universal(
        lambda x: x.mean(1, keepdim=True), [(images, masks, None)], epsilon=0.1, epochs=30,
        loss=loss, random_start=True,
    ).delta  # fmt: skip
    # Where the start is above zero the white image is cut off and only the grey one pulls.
    assert (start == 0.1).any()
    assert (start == -0.1).any()
    assert max(level.max().item() for level in seen) <= 1  # no model sees more than white


class Prompted(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.asked = net, []

    def forward(self, images, prompts):
        self.asked.append(tuple(prompts))
        return self.net(images)


def test_prompts_go_with_their_batches(scene):
    model = Prompted(scene)
    samples = [(x, y, [f"{i}-{j}" for j in range(3)]) for i, (x, y, _) in enumerate(batches())]
    fit_universal(model, samples, epsilon=EPSILON, epochs=3)
    for epoch in range(3):
        asked = model.asked[4 * epoch : 4 * epoch + 4]
        assert sorted(asked) == [tuple(sample[2]) for sample in samples]
    assert model.asked[:4] != model.asked[4:8]  # a new order


def fit(model, samples=None, **settings):
    settings = {"epsilon": EPSILON, "epochs": 4, "step_size": 0.004} | settings
    return fit_universal(model, samples or batches(), **settings)


@pytest.mark.parametrize("optimizer", ["sign", "adam"])
def test_is_reproducible_and_depends_on_the_seed(optimizer, scene):
    one, same, other = (fit(scene, seed=seed, optimizer=optimizer) for seed in (0, 0, 1))
    assert torch.equal(one.delta, same.delta)
    assert one.made_of == same.made_of
    assert not torch.equal(one.delta, other.delta)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["sign", "adam"])
@pytest.mark.parametrize("killed_at", [1, 3, 4, 6, 9])
def test_goes_on_where_it_was_killed(optimizer, killed_at, scene, tmp_path, monkeypatch):
    monkeypatch.setattr("palpate.attacks.universals.state._SECONDS", 0.0)  # after every batch
    file = tmp_path / "new" / "state.safetensors"

    def stop(stage, done, total, note=""):
        if done == killed_at:
            raise KilledError

    with pytest.raises(KilledError):
        fit(scene, optimizer=optimizer, state=file, progress=stop)
    told = []
    resumed = fit(scene, optimizer=optimizer, state=file, progress=lambda *a: told.append(a[:3]))
    assert told[0] == ("universal", killed_at + 1, 16)
    assert told[-1] == ("universal", 16, 16)
    whole = fit(scene, optimizer=optimizer)
    assert torch.equal(resumed.delta, whole.delta)
    assert resumed.made_of == whole.made_of


def test_a_finished_fit_is_not_repeated_but_can_be_prolonged(scene, tmp_path):
    file, calls = tmp_path / "state.safetensors", []
    first = fit(scene, state=file)
    again = fit(scene, state=file, progress=lambda *a: calls.append(a))
    assert torch.equal(first.delta, again.delta)
    assert calls == []
    assert torch.equal(fit(scene, state=file, epochs=6).delta, fit(scene, epochs=6).delta)


class Timed(Tsallis):
    """Remembers when it was climbed."""

    seen = []  # noqa: RUF012 - the class is frozen

    def at(self, progress, *, targeted=False):
        self.seen.append(progress)
        return super().at(progress, targeted=targeted)


def test_a_schedule_runs_once_over_all_epochs(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("palpate.attacks.universals.state._SECONDS", 0.0)
    Timed.seen.clear()
    whole = fit(scene, loss=Timed())
    assert Timed.seen == [step / 16 for step in range(16)]

    def stop(stage, done, total, note=""):
        if done == 6:
            raise KilledError

    file = tmp_path / "state.safetensors"
    with pytest.raises(KilledError):
        fit(scene, loss=Timed(), state=file, progress=stop)
    Timed.seen.clear()
    assert torch.equal(fit(scene, loss=Timed(), state=file).delta, whole.delta)
    assert Timed.seen == [step / 16 for step in range(6, 16)]
    with pytest.raises(ValueError, match=r"another fit: they differ in epochs \(6 here, 4 there\)"):
        fit(scene, loss=Timed(), state=file, epochs=6)


@pytest.mark.parametrize(("killed_at", "done"), [(16, "4 epochs"), (9, "2 epochs and 1 batches")])
def test_refuses_a_state_that_has_gone_further_than_asked(
    killed_at, done, scene, tmp_path, monkeypatch
):
    monkeypatch.setattr("palpate.attacks.universals.state._SECONDS", 0.0)

    def stop(stage, done, total, note=""):
        if done == killed_at:
            raise KilledError

    file = tmp_path / "state.safetensors"
    with pytest.raises(KilledError):
        fit(scene, state=file, progress=stop)
    with pytest.raises(ValueError, match=f"a state of at most 2 epochs, .* got {done} in .*state"):
        fit(scene, state=file, epochs=2)


def test_a_coupled_loss_is_refused_though_the_first_batch_has_one_image(scene):
    (images, masks, _), *_ = batches()
    samples = [(images[:1], masks[:1], None), (images, masks, None)]
    for seed in range(4):  # some of them begin with the one image
        with pytest.raises(ValueError, match="loss of each image by itself"):
            fit(scene, samples, loss=lambda z, y: bce(z, y).mean().expand(len(z)), seed=seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_has_the_precision_of_the_images(dtype, scene):
    samples = [(x.to(dtype), y, None) for x, y, _ in batches()]
    assert fit(scene.to(dtype), samples, epochs=1).delta.dtype == dtype


@pytest.mark.parametrize(
    "other",
    [{"epsilon": 0.05}, {"loss": bce}, {"seed": 1}, {"within": "tied"}, {"made_of": {"data": "x"}}],
    ids=lambda each: next(iter(each)),
)
def test_refuses_the_state_of_another_fit(other, scene, tmp_path):
    file = tmp_path / "state.safetensors"
    fit(scene, state=file, epochs=1)
    name = next(iter(other)).replace("made_of", "of.data")
    with pytest.raises(ValueError, match=rf"another fit: they differ in .*{name}"):
        fit(scene, state=file, **other)


@pytest.mark.parametrize(
    "losses",
    [
        (partial(tsallis, exponent=0.5), partial(tsallis, exponent=-1.0)),
        (Tsallis(0.5), Tsallis()),
        (
            lambda z, y: 3 * bce(z, y),
            lambda z, y: 2 * bce(z, y),
        ),
    ],
)
def test_losses_of_one_name_are_told_apart(losses, scene, tmp_path):
    one, other = losses
    file = tmp_path / "state.safetensors"
    fit(scene, loss=one, state=file, epochs=1)
    fit(scene, loss=one, state=file, epochs=1)
    with pytest.raises(ValueError, match=r"another fit: they differ in loss_is \("):
        fit(scene, loss=other, state=file, epochs=1)


def test_losses_of_the_package_are_kept_by_their_names(scene):
    for loss, name in ((bce, "bce"), (Tsallis(), "Tsallis")):
        made_of = fit(scene, loss=loss, epochs=1).made_of
        assert made_of["loss"] == name
        assert "loss_is" not in made_of  # nor in states from before there was such a setting


def test_is_kept_with_what_it_was_made_of(scene, tmp_path):
    fitted = fit(scene, made_of={"data": "abc"}, within={"periodic": 4}, clip=2.0)
    fitted.save(tmp_path / "kept" / "p.safetensors")
    loaded = UniversalPerturbation.load(tmp_path / "kept" / "p.safetensors")
    assert torch.equal(loaded.delta, fitted.delta)
    assert (loaded.epsilon, loaded.norm, loaded.made_of) == (EPSILON, "linf", fitted.made_of)
    assert loaded.made_of["of.data"] == "abc"
    assert "Periodic(size=4)" in loaded.made_of["within"]
    assert len(loaded.made_of["loss_per_epoch"].split(", ")) == 4
    assert repr(loaded) == repr(fitted) != repr(fit(scene, seed=5))


# Saves a perturbation of ones in a process that is killed when it flushes what it has written.
KILLED_WRITER = """
import os, signal, sys
import torch
from palpate.attacks import UniversalPerturbation
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
UniversalPerturbation(torch.ones(3, 8, 8), 1.0, "linf").save(sys.argv[1])
"""


def test_a_process_killed_while_it_saves_leaves_the_old_file(tmp_path):
    file, old = tmp_path / "p.safetensors", UniversalPerturbation(torch.zeros(3, 8, 8), 0.5, "l2")
    old.save(file)
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, str(file)],
        env={**os.environ, "PYTHONPATH": source}, check=False,
    )  # fmt: skip
    assert done.returncode == -9
    assert repr(UniversalPerturbation.load(file)) == repr(old)
    old.save(file)  # a later write removes what the killed process left behind
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_a_saved_file_has_the_permissions_of_the_umask(mask, scene, tmp_path):
    before = os.umask(mask)
    try:
        fit(scene, epochs=1, state=tmp_path / "state.safetensors").save(tmp_path / "p.safetensors")
    finally:
        os.umask(before)
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


def test_refuses_files_that_hold_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        UniversalPerturbation.load(tmp_path / "none.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="cannot be read"):
        UniversalPerturbation.load(damaged)


def test_the_state_of_a_fit_is_no_perturbation(scene, tmp_path):
    fit(scene, state=tmp_path / "state.safetensors")
    with pytest.raises(ValueError, match=r"a universal perturbation in .*, got another file"):
        UniversalPerturbation.load(tmp_path / "state.safetensors")


@pytest.fixture
def perturbation():
    delta = EPSILON * torch.randn(3, 8, 8, generator=generator(3)).sign()
    return UniversalPerturbation(delta, EPSILON, "linf")


def test_is_added_to_every_image_alike(perturbation, model, images, masks):
    found = universal(model, images, masks, epsilon=EPSILON, perturbation=perturbation)
    assert_close(found - images, perturbation.delta.expand_as(images), rtol=0, atol=1e-6)
    half = universal(model, images, masks, epsilon=EPSILON / 2, perturbation=perturbation)
    assert_close(half - images, perturbation.delta.expand_as(images) / 2, rtol=0, atol=1e-6)
    white = universal(model, images * 0 + 1, masks, epsilon=EPSILON, perturbation=perturbation)
    assert white.max() == 1


def test_shuffled_it_has_the_same_pixels_in_other_places(perturbation, model, images, masks):
    press = partial(universal, model, images, masks, epsilon=EPSILON, perturbation=perturbation)
    delta, moved = ((press(shuffled=s) - images).mean(0).mul(1e4).round() for s in (False, True))
    assert not torch.equal(delta, moved)
    pixels = [sorted(map(tuple, d.flatten(1).T.tolist())) for d in (delta, moved)]
    assert pixels[0] == pixels[1]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("size", [(16, 16), (5, 11), (8, 8)])
def test_is_resized_to_images_of_another_size(norm, size, model):
    wave = torch.linspace(-3, 3, 8).sin().expand(3, 8, 8) + 0.1
    wave = EPSILON * wave / norms(wave[None], norm)
    kept = UniversalPerturbation(wave, EPSILON, norm)
    images, masks = torch.full((2, 3, *size), 0.5), torch.zeros(2, 1, *size, dtype=torch.bool)
    found = universal(model, images, masks, epsilon=EPSILON, perturbation=kept, norm=norm)
    delta = found - images
    assert_close(norms(delta, norm), torch.full((2,), EPSILON), rtol=1e-3, atol=0)
    lines = torch.stack([delta[0, 0, 0], torch.linspace(-3, 3, size[1]).sin() + 0.1])
    assert torch.corrcoef(lines)[0, 1] > 0.95


def test_takes_a_threat_model_when_it_is_added(perturbation, model, images, masks):
    images = (images * 255).round() / 255
    press = partial(universal, model, images, masks, epsilon=3 / 255, perturbation=perturbation)
    found = press(within=["inside", "lattice"])
    assert torch.equal((found * 255).round() / 255, found)
    delta = ((found - images) * 255).round()
    assert set(delta[masks.expand_as(delta)].unique().tolist()) == {-3.0, 3.0}
    assert (delta[~masks.expand_as(delta)] == 0).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"norm": "l2"}, "norm 'linf', in which the perturbation was fitted, got 'l2'"),
        (
            {"perturbation": UniversalPerturbation(torch.ones(1, 8, 8), 0.1, "linf")},
            "images of 1 channels, as the perturbation has, got 3",
        ),
        (
            {"perturbation": UniversalPerturbation(torch.zeros(3, 8, 8), 0.0, "linf")},
            "fitted with epsilon > 0",
        ),
    ],
)
def test_refuses_what_does_not_fit(wrong, message, perturbation, model, images, masks):
    with pytest.raises(ValueError, match=message):
        universal(
            model, images, masks, **({"epsilon": EPSILON, "perturbation": perturbation} | wrong)
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samples": []}, "batches to fit a perturbation to, got none"),
        ({"epsilon": 0.0}, "epsilon > 0, got 0.0"),
        ({"epsilon": 8.0}, "epsilon <= 1, got 8.0"),
        ({"epochs": 0}, "epochs >= 1, got 0"),
        ({"step_size": -1.0}, "step_size > 0, got -1.0"),
        ({"optimizer": "sgd"}, "optimizer 'sign' or 'adam', got 'sgd'"),
        ({"within": "inside"}, r"the same for all images, got Inside\(\)"),
        ({"within": "lattice"}, "without the 8-bit lattice"),
        ({"samples": batches(1) + batches(1, side=6)}, "batches of one size"),
        ({"samples": [(x * 255, y, None) for x, y, _ in batches(1)]}, r"images in \[0, 1\]"),
    ],
)
def test_refuses_senseless_fits(wrong, message, scene, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        fit_universal(scene, **({"samples": batches(), "epsilon": EPSILON} | wrong))


def test_leaves_no_trace_on_model_and_samples(net):
    samples = batches()
    copies = [(x.clone(), y.clone()) for x, y, _ in samples]
    fit(net, samples, epochs=1)
    for (x, y, _), (was_x, was_y) in zip(samples, copies, strict=True):
        assert torch.equal(x, was_x)
        assert torch.equal(y, was_y)
        assert x.grad is None
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
