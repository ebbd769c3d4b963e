"""MedIS on a data set: what each line says, and that lines survive what rows survive."""

import dataclasses

import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal

from palpate import overlap as metrics
from palpate.attacks import MEDIS_LOSSES, medis
from palpate.attacks.medis.targets import TARGETS, target_masks
from palpate.evaluation import Medis, evaluate, medis_lines
from palpate.evaluation.medis.condition import mask_bank
from palpate.evaluation.medis.rows import UNTARGETED
from palpate.randomness import generator

from .blobs import BlobFinder, blob, blobs

KEY = ["key", "target", "loss"]
SETTINGS = {"epsilon": 0.5, "steps": 6, "losses": ("bce_dice", "structure", "lovasz_hinge")}


def faint(count):
    """Blobs of so little contrast that some are lost within six grey levels and some are not."""
    samples = []
    for i in range(count):
        sample = blob(i)
        image = 0.5 + (0.05 + 0.03 * i) * (sample.image - 0.5)
        samples.append(dataclasses.replace(sample, image=image))
    return samples


def lines_of(model, data, **settings):
    """The lines of an evaluation with MedIS alone."""
    options = {"out", "seed", "batch_size", "progress"} & settings.keys()
    given = {name: settings.pop(name) for name in options}
    return medis_lines(evaluate(model, data, {"medis-tables": Medis(**settings)}, **given))


def press(data=None, model=None, **settings):
    return lines_of(model or BlobFinder(), data or faint(6), **SETTINGS | settings)


def timeless(lines):
    return lines.drop(columns="seconds")


@pytest.fixture(scope="module")
def lines():
    return press()


@pytest.fixture(scope="module")
def published():
    """By the rules of the published notebooks."""
    return press(faithful=True)


def test_there_is_one_line_for_each_image_target_and_loss_in_order(lines):
    expected = [
        (f"k{i}", target, loss)
        for i in range(6)
        for target in (UNTARGETED, *TARGETS)
        for loss in SETTINGS["losses"]
    ]
    assert list(lines[KEY].itertuples(index=False, name=None)) == expected
    assert (lines["protocol"] == "sound").all()


def test_lines_differ_as_they_should(lines):
    untargeted = lines[lines["target"] == UNTARGETED]
    assert 0 < untargeted["success"].mean() < 1
    assert untargeted.loc[untargeted["success"], "steps"].nunique() > 1
    assert lines["already"].any()
    assert not lines["already"].all()


def test_a_line_says_what_an_independent_look_says(lines):
    data, model = faint(6), BlobFinder()
    bank = torch.stack([sample.mask for sample in data])
    for place, target in ((1, UNTARGETED), (2, "random"), (3, "white"), (5, "black")):
        sample = data[place]
        truth, images = sample.mask[None], sample.image[None]
        aim = truth
        if target != UNTARGETED:
            source = [generator(0, f"k{place}", "target")]
            aim = target_masks(target, truth, bank=bank[torch.arange(6) != place], generator=source)

        def bound(x, prompt=sample.case.prompt):
            return model(x, prompts=[prompt] * len(x))

        for loss in SETTINGS["losses"]:
            line = lines.set_index(KEY).loc[(f"k{place}", target, loss)]
            adversarial = medis(
                bound, images, aim, targeted=target != UNTARGETED, **SETTINGS | {"losses": [loss]}
            )
            with torch.no_grad():
                prediction, clean = bound(adversarial) > 0, bound(images) > 0
            score = round(metrics.miou(metrics.count(prediction, aim)).item(), 6)
            before = round(metrics.miou(metrics.count(clean, aim)).item(), 6)
            with_truth = metrics.count(prediction, truth)
            assert line["score"] == pytest.approx(score)
            assert line["miou_target"] == pytest.approx(score)
            assert line["score_clean"] == pytest.approx(before)
            assert line["miou_truth"] == pytest.approx(metrics.miou(with_truth).item())
            assert line["dsc_truth"] == pytest.approx(metrics.dice(with_truth).item())
            assert line["linf"] == pytest.approx((adversarial - images).abs().max().item())
            assert line["target_area"] == pytest.approx(aim.float().mean().item())
            assert line["success"] == ((score <= 0.5) if target == UNTARGETED else score >= 0.45)
            assert line["already"] == ((before <= 0.5) if target == UNTARGETED else before >= 0.45)


def test_success_at_step_one_is_flagged_and_never_without_an_attack(lines, published):
    """Small lesions reach the threshold of a target as they are: those lines say so."""
    targeted = lines[lines["target"] != UNTARGETED]
    assert (targeted["already"] == (targeted["score_clean"] >= 0.45)).all()
    assert (lines["steps"] >= 1).all()
    assert (lines["linf"] > 0).all()
    black = published[published["target"] == "black"]
    assert black["success"].all()  # the doubled background
    assert (black["steps"] == 1).all()
    assert (black["linf"] == 0).all()
    right = lines[(lines["target"] == "black") & lines["success"] & ~lines["already"]]
    assert (right["score_clean"] < 0.45).all()


def test_the_ordinary_attack_is_the_fusion_of_the_lines(lines):
    rows = evaluate(BlobFinder(), faint(6), {"medis": medis}, epsilons=[10 / 255])
    rows = rows[rows["attack"] == "medis"].set_index("key")
    all_lines = press(losses=MEDIS_LOSSES, epsilon=10 / 255, steps=10, targets=[UNTARGETED])
    for key, some in all_lines.groupby("key"):
        won = some[some["success"]]
        if len(won):
            best = won.sort_values(["steps", "score"]).iloc[0]
            assert rows.loc[key, "miou"] == pytest.approx(best["score"])
            assert rows.loc[key, "linf"] == pytest.approx(best["linf"])
        else:
            assert rows.loc[key, "miou"] == pytest.approx(some["score"].min())
    assert all_lines["success"].any()


@pytest.mark.parametrize(
    "settings",
    [{"batch_size": 1}, pytest.param({"batch_size": 6}, marks=pytest.mark.slow), {"copies": 1}],
)
def test_batches_and_copies_change_nothing(settings, lines):
    again = press(**settings)
    assert_frame_equal(timeless(again), timeless(lines), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("batch_size", "largest"), [(1, 3), (5, 5), (100, 18)])
def test_a_pass_has_no_more_images_than_it_may(batch_size, largest):
    """Three losses: at least an image with all of them, at most all six."""
    model, sizes = BlobFinder(), []
    model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    press(model=model, targets=["white"], batch_size=batch_size)
    assert max(sizes) == largest


def test_the_seed_chooses_the_random_targets_and_nothing_else(lines):
    other = press(seed=1)
    for target in (UNTARGETED, "nearest", "white", "black"):
        pair = [each[each["target"] == target].drop(columns="seed") for each in (lines, other)]
        assert_frame_equal(*(timeless(each) for each in pair))
    drawn = [each[each["target"] == "random"]["score_clean"] for each in (lines, other)]
    assert not np.allclose(*drawn)


def test_a_target_is_the_same_for_all_losses_but_by_the_published_rule(lines):
    def clean_scores(some):
        random = some[(some["target"] == "random") & ~some["skipped"]]
        return random.groupby("key")["score_clean"].nunique()

    assert (clean_scores(lines) == 1).all()
    # All losses, for of a few, targets may agree.
    published = press(faithful=True, losses=MEDIS_LOSSES, steps=1)
    assert (clean_scores(published) > 1).any()
    random = published[published["target"] == "random"]
    per_loss = random.groupby("loss")["target_area"].nunique()
    assert (per_loss == 1).all()  # one mask for the whole data set
    assert random["skipped"].sum() == len(MEDIS_LOSSES) * 2  # of k0 and k3, and so on


def test_a_killed_evaluation_goes_on_where_it_was(tmp_path, lines):
    class KilledError(Exception):
        pass

    def kill(stage, done, total, note=""):
        if done > total / 3:
            raise KilledError

    with pytest.raises(KilledError):
        press(out=tmp_path, batch_size=6, progress=kill)
    told = []

    def tell(stage, done, total, note=""):
        told.append((done, total))

    again = press(
        model=BlobFinder(),
        out=tmp_path,
        batch_size=6,
        progress=tell,
    )
    assert_frame_equal(timeless(again), timeless(lines), rtol=1e-4, atol=1e-5)
    assert told[0][0] > 96 / 3
    assert told[-1] == (96, 96)
    done = press(out=tmp_path, batch_size=6, progress=lambda *_: pytest.fail("nothing is left"))
    assert_frame_equal(done, again)
    fewer = press(out=tmp_path, targets=["white"], losses=["structure"])
    assert len(fewer) == 6


def test_a_loss_can_be_added_but_settings_cannot_change(tmp_path):
    data = faint(2)
    press(data, out=tmp_path, targets=["white"])
    more = press(data, out=tmp_path, targets=["white"], losses=(*SETTINGS["losses"], "margin"))
    assert len(more) == 8
    for wrong, what in (({"steps": 3}, "targeted"), ({"faithful": True}, "targeted")):
        with pytest.raises(ValueError, match=f"rows of another evaluation.*{what}"):
            press(data, out=tmp_path, targets=["white"], **wrong)


def test_a_damaged_part_is_named_and_its_lines_are_redone(tmp_path):
    press(faint(1), out=tmp_path, targets=["white"])
    (part,) = tmp_path.glob("part-*.parquet")
    part.write_bytes(b"nothing")
    with pytest.warns(UserWarning, match=rf"{part.name} is damaged"):
        again = press(faint(1), out=tmp_path, targets=["white"])
    assert len(again) == 3


def test_images_of_several_sizes_have_no_common_bank():
    mixed = [blob(0), blob(1, 24, 30)]
    with pytest.raises(ValueError, match=r"masks of one size .* \(20, 20\) and \(24, 30\)"):
        press(mixed)
    some = press(mixed, targets=[UNTARGETED, "white", "black"])
    assert len(some) == 2 * 3 * 3
    with pytest.raises(ValueError, match="bank of bool masks"):
        press(mixed, bank=torch.ones(2, 1, 4, 4, dtype=torch.bool))


def test_the_bank_holds_each_mask_once():
    assert len(mask_bank(blobs(6), [sample.case for sample in blobs(6)])) == 3


@pytest.mark.parametrize("targets", [[], ["grey"], ["white", "white"], "white"])
def test_rejects_targets_there_are_not(targets):
    with pytest.raises(ValueError, match="Expected some of untargeted, random"):
        press(targets=targets)


@pytest.mark.parametrize("faithful", [False, True])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps >= 1"),
        ({"epsilon": -0.1}, "epsilon in units of pixel value, 0 to 1, got -0.1"),
        ({"epsilon": 10.0}, "got 10; eight grey levels are 8 / 255"),
        ({"copies": 0}, "copies >= 1, got 0"),
        ({"copies": -1}, "copies >= 1, got -1"),
        ({"limit": 0}, "limit >= 1, got 0"),
    ],
)
def test_rejects_budgets_that_make_no_sense(wrong, message, faithful):
    with pytest.raises(ValueError, match=message):
        press(faithful=faithful, **wrong)


def test_costs_are_those_of_the_passes(lines, published):
    for some in (lines, published):
        tried, goes_on = some[~some["skipped"]], some is published
        won, lost = tried[tried["success"]], tried[~tried["success"]]
        if not goes_on:
            assert (won["forwards"] == won["steps"] + 1).all()
        assert (lost["forwards"] == (6 if goes_on else 7)).all()
        assert (tried["backwards"] == tried["forwards"] - 1).all()
        assert (some[some["skipped"]][["forwards", "backwards"]] == 0).all(axis=None)
        assert (tried["seconds"] > 0).all()
