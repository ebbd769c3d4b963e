"""The loop as a whole, with the real attacks on a model that can be attacked."""

from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from torch.nn import functional as F

from palpate.attacks import fgsm, noise, pgd
from palpate.evaluation import SOUND, ExampleStore, evaluate, read_examples, read_rows
from palpate.geometry import norms
from palpate.randomness import generator

from .blobs import BRIGHT, BlobFinder, blob, blobs

ATTACKS = {"noise": noise, "fgsm": fgsm, "pgd": partial(pgd, steps=4)}
EPSILONS = [16 / 255, 32 / 255]


def press(data, model=None, attacks=ATTACKS, epsilons=EPSILONS, **settings) -> pd.DataFrame:
    return evaluate(model or BlobFinder(), data, attacks, epsilons=epsilons, **settings)


def timeless(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop(columns="seconds")


class Loads(list):
    """Samples that tell what there is without being loaded, and remember who was loaded."""

    def __init__(self, samples):
        super().__init__(samples)
        self.cases = [sample.case for sample in samples]
        self.loaded = []

    def __getitem__(self, index):
        self.loaded.append(index)
        return super().__getitem__(index)


def test_there_is_one_row_per_sample_attack_and_epsilon():
    rows = press(blobs(3))
    names = rows[["key", "attack", "epsilon"]].itertuples(index=False, name=None)
    assert sorted(names) == sorted(
        (f"k{i}", attack, epsilon)
        for i in range(3)
        for attack, epsilon in [("clean", 0.0), *((a, e) for a in ATTACKS for e in EPSILONS)]
    )


def test_rows_say_what_an_independent_computation_says():
    sample, model = blob(1), BlobFinder()
    rows = press(blobs(3), model, epsilons=[32 / 255], batch_size=2, seed=5, tau=0.8)
    row = rows.set_index(["key", "attack"]).loc["k1", "pgd"]
    images, masks = sample.image[None], sample.mask[None]
    bound = partial(model, prompts=[sample.case.prompt])
    adversarial = pgd(
        bound, images, masks, epsilon=32 / 255, steps=4, generator=[generator(5, "k1", "pgd")]
    )
    with torch.no_grad():
        clean, logits = bound(images), bound(adversarial)
    prediction = logits > 0
    both, either = (prediction & masks).sum(), (prediction | masks).sum()
    truth = masks.float()
    expected = {
        "dsc": 2 * both / (both + either),
        "iou": both / either,
        "dsc_clean": 2 * ((clean > 0) & masks).sum() / ((clean > 0).sum() + masks.sum()),
        "mask_area": truth.mean(),
        "area": prediction.float().mean(),
        "clean_area": (clean > 0).float().mean(),
        "loss": F.binary_cross_entropy_with_logits(logits, truth),
        "loss_clean": F.binary_cross_entropy_with_logits(clean, truth),
        "linf": norms(adversarial - images, "linf"),
        "l2": norms(adversarial - images, "l2"),
        "psnr": -10 * (adversarial - images).square().mean().log10(),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value.item(), rel=1e-4), name
    assert row["success"] == (expected["dsc_clean"] > 0.8 >= expected["dsc"])
    assert (row["height"], row["width"], row["forwards"], row["backwards"]) == (20, 20, 5, 4)
    assert (row["group"], row["prompt"], row["seed"]) == ("patient 0", "a dark blob", 5)
    assert row["seconds"] > 0


def test_clean_rows_hold_the_clean_scores():
    rows = press(blobs(4))
    clean = rows[rows["attack"] == "clean"].set_index("key")
    assert (clean["dsc"] > 0.9).all()  # also for the dark blobs: each image has its own prompt
    assert (clean["dsc"] == clean["dsc_clean"]).all()
    assert (clean[["linf", "l2", "epsilon", "backwards"]] == 0).all(axis=None)
    assert not clean["success"].any()
    assert (clean["forwards"] == 1).all()
    again = rows["key"].map(clean["dsc"])
    assert (rows["dsc_clean"] == again).all()


def test_attacks_do_damage_in_the_order_of_their_strength():
    dsc = press(blobs(4), epsilons=[32 / 255]).groupby("attack")["dsc"].mean()
    assert dsc["pgd"] <= dsc["fgsm"] < dsc["noise"] - 0.1


def test_success_and_failure_are_those_of_the_attacked_image():
    rows = press(blobs(4), epsilons=[32 / 255], tau=0.85)
    assert (rows["success"] == (rows["dsc"] <= 0.85)).all()
    assert ((rows["failure"] != "none") == rows["success"]).all()
    assert rows.groupby("attack")["success"].mean()[["clean", "pgd"]].tolist() == [0, 1]


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_the_batch_size_changes_nothing_but_rounding(batch_size):
    alone, together = (timeless(press(blobs(5), batch_size=n)) for n in (1, batch_size))
    assert_frame_equal(together, alone, rtol=1e-4, atol=1e-5)


def test_the_order_of_samples_changes_nothing_but_rounding():
    forth, back = (timeless(press(data, batch_size=2)) for data in (blobs(4), blobs(4)[::-1]))
    assert_frame_equal(back, forth, rtol=1e-4, atol=1e-5)


def test_noise_grows_along_one_direction():
    rows = press([blob(0)], attacks={"noise": noise}, epsilons=[0.01, 0.02])
    lengths = rows.set_index(["attack", "epsilon"])["l2"]["noise"]
    assert lengths[0.02] == pytest.approx(2 * lengths[0.01], rel=1e-4)


def test_the_seed_changes_what_is_random_and_nothing_else():
    rows = [press(blobs(2), seed=seed).set_index(["attack", "key", "epsilon"]) for seed in (0, 1)]
    assert (rows[0]["loss"] != rows[1]["loss"])[["noise", "pgd"]].all()
    assert (rows[0]["loss"] == rows[1]["loss"])[["clean", "fgsm"]].all()


def test_images_of_different_size_are_evaluated_apart():
    mixed = [blob(0), blob(1, 24, 30), blob(2), blob(3, 24, 30), blob(4, 26, 20)]
    rows = press(mixed, batch_size=4)
    alone = pd.concat([press([sample]) for sample in mixed]).reset_index(drop=True)
    assert_frame_equal(timeless(rows), timeless(alone), rtol=1e-4, atol=1e-5)
    assert rows.groupby("key")["width"].first().tolist() == [20, 30, 20, 30, 20]


def test_a_threshold_other_than_zero_is_used_by_scores_and_attacks():
    model = BlobFinder()
    model.threshold_logit = 2.0
    seen = []

    def spy(model, images, masks, *, epsilon, threshold):
        seen.append(threshold)
        return images

    rows = press([blob(0)], model, {"spy": spy}, [0.1])
    logits = model(blob(0).image[None], prompts=[BRIGHT])
    assert rows["area"].tolist() == pytest.approx([(logits > 2).float().mean().item()] * 2)
    assert seen == [2.0]


def test_the_model_is_frozen_meanwhile_and_restored():
    model = BlobFinder()
    model.smooth.weight.requires_grad_(False)
    model.register_parameter("scale", torch.nn.Parameter(torch.ones(1)))
    model.train()
    model.smooth.eval()
    seen = []

    def spy(bound, images, masks, *, epsilon):
        seen.append((model.training, model.scale.requires_grad))
        return images

    press([blob(0)], model, {"spy": spy})
    with pytest.raises(ZeroDivisionError):
        press([blob(0)], model, {"broken": broken})
    assert set(seen) == {(False, False)}
    assert (model.training, model.smooth.training) == (True, False)
    assert (model.scale.requires_grad, model.smooth.weight.requires_grad) == (True, False)
    assert model.scale.grad is None


def broken(model, images, masks, *, epsilon):
    raise ZeroDivisionError


class Killed(BaseException):
    """Ends an evaluation as a signal would, at a moment the test chooses."""


@pytest.mark.parametrize("after", [1, 9, 21])
def test_an_interrupted_evaluation_goes_on_and_ends_in_the_same_rows(after, tmp_path):
    def stop(stage, done, total, note):
        if done >= after:
            raise Killed

    whole = press(blobs(5), batch_size=2)
    with pytest.raises(Killed):
        press(blobs(5), batch_size=2, out=tmp_path, progress=stop)
    some = read_rows(tmp_path)
    assert 0 < len(some) < len(whole)
    assert_frame_equal(timeless(press(blobs(5), batch_size=2, out=tmp_path)), timeless(whole))
    kept = read_rows(tmp_path).merge(some, how="inner")
    assert len(kept) == len(some)  # seconds included: what was there was not computed again


def test_finished_samples_are_not_loaded(tmp_path):
    data = Loads(blobs(5))
    press(data, out=tmp_path, limit=2, batch_size=2)
    assert data.loaded == [0, 1]
    press(data, out=tmp_path, batch_size=2)
    assert data.loaded == [0, 1, 2, 3, 4]
    assert len(press(data, out=tmp_path, batch_size=2)) == 35
    assert data.loaded == [0, 1, 2, 3, 4]


def test_only_the_rows_asked_for_are_returned(tmp_path):
    press(blobs(3), out=tmp_path)
    rows = press(blobs(3), out=tmp_path, attacks={"fgsm": fgsm}, epsilons=EPSILONS[:1], limit=1)
    assert rows["attack"].tolist() == ["clean", "fgsm"]
    assert len(read_rows(tmp_path)) == 21


def test_a_second_seed_goes_into_the_same_folder(tmp_path):
    press(blobs(2), out=tmp_path)
    assert (press(blobs(2), out=tmp_path, seed=1)["seed"] == 1).all()
    assert len(read_rows(tmp_path)) == 28


def test_other_weights_data_or_settings_need_another_folder(tmp_path):
    press(blobs(2), out=tmp_path)
    other = BlobFinder()
    torch.nn.init.ones_(other.smooth.weight)
    renamed = [replace(s, case=replace(s.case, prompt="polyp")) for s in blobs(2)]
    for change, name in [
        ({"model": other}, "weights"),
        ({"data": renamed}, "data"),
        ({"tau": 0.7}, "tau"),
        ({"protocol": SOUND.switched(storage="png")}, "protocol"),
        ({"precision": "bf16"}, "precision"),
        ({"fingerprint": {"checkpoint": "c0ffee"}}, "checkpoint"),
        ({"attacks": ATTACKS | {"pgd": partial(pgd, steps=5)}}, r"attack\.pgd"),
    ]:
        with pytest.raises(ValueError, match=rf"they differ in {name} \("):
            press(**{"data": blobs(2), "out": tmp_path} | change)
    assert len(press(blobs(2), out=tmp_path)) == 14


def test_half_precision_is_used_by_the_attack_alone():
    model, kinds = BlobFinder(), []
    model.smooth.register_forward_hook(lambda *call: kinds.append(call[2].dtype))
    rows = press([blob(0)], model, {"fgsm": fgsm}, precision="bf16")
    assert torch.bfloat16 in kinds
    full = press([blob(0)], attacks={"fgsm": fgsm})
    clean = rows["attack"] == "clean"
    assert_frame_equal(timeless(rows[clean]), timeless(full[clean]))


def test_an_attack_that_leaves_the_ball_ends_the_evaluation_and_loses_nothing(tmp_path):
    def cheat(model, images, masks, *, epsilon):
        return (images + 2 * epsilon).clamp(0, 1)

    with pytest.raises(ValueError, match=r"Attack 'cheat' \(epsilon 0\.0627.*'k0': its distance"):
        press(blobs(2), attacks={"fgsm": fgsm, "cheat": cheat}, out=tmp_path)
    assert set(read_rows(tmp_path)["attack"]) == {"clean", "fgsm"}


def test_an_attack_cannot_move_the_clean_images():
    def vandal(model, images, masks, *, epsilon):
        images -= 0.2
        masks[:] = False
        return images

    with pytest.raises(ValueError, match=r"its distance is 0\.2"):
        press([blob(0)], attacks={"vandal": vandal})


def test_an_error_inside_an_attack_says_where():
    def bad(model, images, masks, *, epsilon):
        raise FloatingPointError("Loss is NaN.")

    with pytest.raises(FloatingPointError, match="Loss is NaN") as caught:
        press(blobs(2), attacks={"bad": bad})
    assert caught.value.__notes__ == ["During bad linf 16/255 on k0, k1."]


def test_a_model_that_answers_nan_is_named():
    class Broken(BlobFinder):
        def forward(self, images, prompts):
            logits = super().forward(images, prompts)
            return torch.where(
                logits.new_tensor([p == BRIGHT for p in prompts]).view(-1, 1, 1, 1) > 0,
                logits,
                torch.nan,
            )

    with pytest.raises(FloatingPointError, match=r"returned NaN or infinity for \['k1'\]"):
        press(blobs(3), Broken())


def test_a_model_that_answers_in_another_size_is_named():
    class Small(BlobFinder):
        def forward(self, images, prompts):
            return super().forward(images, prompts)[..., ::2, ::2]

    with pytest.raises(ValueError, match=r"shape \(1, 1, 20, 20\).*returned \(1, 1, 10, 10\)"):
        press([blob(0)], Small())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": []}, "samples to evaluate, got none"),
        ({"data": [blob(0), blob(0)]}, "Two samples have the key 'k0'"),
        ({"data": [replace(blob(0), image=3 * blob(0).image)]}, r"'k0' has values in \[0\.\d+, 2"),
        ({"batch_size": 0}, "batch_size >= 1, got 0"),
        ({"limit": 0}, "limit >= 1, got 0"),
    ],
)
def test_senseless_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        press(**{"data": blobs(2)} | settings)


def test_data_that_change_between_looks_are_refused():
    data = Loads(blobs(2))
    data.cases[1] = replace(data.cases[1], prompt="another draw")
    with pytest.raises(ValueError, match=r"'k1' as data\.cases announces it"):
        press(data)


def test_functions_in_a_list_keep_their_names():
    def mine(model, images, masks, *, epsilon):
        return images

    rows = press(blobs(1), attacks=[mine, partial(pgd, steps=1), "fgsm"])
    assert set(rows["attack"]) == {"clean", "mine", "pgd", "fgsm"}
    for attacks, message in (
        ([mine, mine], "every attack once, got mine, mine"),
        ([lambda *_: None], "has no name. Give it one"),
    ):
        with pytest.raises(ValueError, match=message):
            press(blobs(1), attacks=attacks)


def test_progress_is_shown_in_a_terminal_and_nowhere_else(capsys, monkeypatch):
    press(blobs(1))
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    press(blobs(1))
    assert "attacks" in capsys.readouterr().err
    press(blobs(1), progress=False)
    assert capsys.readouterr().err == ""


def test_a_model_that_reads_a_prompt_needs_one():
    model = BlobFinder()
    model.text_conditioned = True
    samples = [
        replace(sample, case=replace(sample.case, prompt="", prompt_level="none"))
        for sample in blobs(1)
    ]
    with pytest.raises(ValueError, match="Expected a prompt that names what the masks show"):
        press(samples, model)
    model.text_conditioned = False
    assert len(press(samples, model)) > 0


def test_progress_counts_rows_and_names_what_was_done(tmp_path):
    told = []
    press(blobs(3), out=tmp_path, batch_size=2, progress=lambda *what: told.append(what[1:]))
    assert told[0] == (2, 21, "clean")
    assert told[6] == (14, 21, "pgd linf 32/255")
    assert told[-1] == (21, 21, "pgd linf 32/255")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)


def test_where_memory_runs_out_the_batch_halves_itself():
    sizes = []

    class Greedy(BlobFinder):
        def forward(self, images, prompts):
            sizes.append(len(images))
            if len(images) > 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return super().forward(images, prompts)

    rows = press(blobs(5), Greedy(), batch_size=5)
    assert_frame_equal(timeless(rows), timeless(press(blobs(5), batch_size=2)))
    assert sizes.count(5) == 1  # what did not fit is not tried again
    assert (rows[rows["attack"] == "pgd"]["forwards"] == 5).all()


def test_one_image_that_does_not_fit_is_an_error():
    def greedy(images, prompts):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
        press(blobs(2), greedy)
    assert "Not even one fits" in caught.value.__notes__[0]


def test_examples_hold_what_the_model_saw_and_said(tmp_path):
    rows = press(blobs(6), examples=ExampleStore(tmp_path, count=2), batch_size=4)
    examples = read_examples(tmp_path)
    assert len(examples) == 2 * 7
    assert {example.row.key for example in examples} == {"k0", "k2"}
    model = BlobFinder()
    for example in examples:
        image = torch.from_numpy(example.image)[None]
        with torch.no_grad():
            again = model(image, prompts=[example.row.prompt])[0, 0] > 0
        assert (again.numpy() == example.prediction).all()
        assert (example.mask == blob(int(example.row.key[1])).mask[0].numpy()).all()
    kept = pd.DataFrame([example.row for example in examples]).dropna(axis="columns")
    assert len(kept.merge(rows, how="inner")) == len(kept)


def test_lost_examples_are_made_again(tmp_path):
    settings = {"out": tmp_path / "rows", "examples": ExampleStore(tmp_path / "examples", 1)}
    rows = press(blobs(3), **settings)
    victim = sorted((tmp_path / "examples").iterdir())[3]
    victim.unlink()
    assert_frame_equal(press(blobs(3), **settings), rows)
    assert victim.exists()
