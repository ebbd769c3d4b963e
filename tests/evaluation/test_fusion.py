"""Fusion of lines and the rates made of them, against what the words say."""

import numpy as np
import pandas as pd
import pytest

from palpate.attacks.losses import bce
from palpate.evaluation.medis.fusion import FUSED, fuse_lines, success_rates
from palpate.evaluation.medis.rows import UNTARGETED

from .blobs import BlobFinder
from .test_medis_lines import faint, lines_of

LOSSES = ("bce_dice", "structure", "lovasz_hinge", "exponential_log")


def made(key, loss, *, steps=10, score=0.7, target=UNTARGETED, **values):
    success = values.pop("success", steps < 10)
    return {
        "dataset": "d",
        "split": "test",
        "key": key,
        "prompt_level": "p1",
        "prompt": "x",
        "group": key,
        "target": target,
        "loss": loss,
        "seed": 0,
        "protocol": "sound",
        "skipped": False,
        "already": False,
        "success": success,
        "steps": steps,
        "score": score,
        "flat": False,
        "linf": steps / 255,
        "forwards": 2.0,
        "backwards": 1.0,
        "seconds": 0.5,
    } | values


def fused_losses(*lines):
    return fuse_lines(pd.DataFrame(lines)).set_index(["key", "target"])["loss"].to_dict()


def test_fewest_steps_then_the_better_score_then_the_first():
    assert fused_losses(
        made("quick", "a", steps=4, score=0.1),
        made("quick", "b", steps=3, score=0.4),
        made("tie", "a", steps=3, score=0.4),
        made("tie", "b", steps=3, score=0.3),
        made("tie", "a", steps=3, score=0.5, target="white"),
        made("tie", "b", steps=3, score=0.6, target="white"),
        made("equal", "b", steps=3, score=0.4),
        made("equal", "a", steps=3, score=0.4),
        made("failed", "a", steps=10, score=0.6),
        made("failed", "b", steps=2, score=0.7, success=False),
        made("one", "a", steps=2, score=0.6, success=False),
        made("one", "b", steps=9, score=0.5),
        made("skip", "a", skipped=True, steps=0, success=False, score=0.1),
        made("skip", "b", score=0.9),
    ) == {
        ("quick", UNTARGETED): "b",
        ("tie", UNTARGETED): "b",
        ("tie", "white"): "b",
        ("equal", UNTARGETED): "b",
        ("failed", UNTARGETED): "a",
        ("one", UNTARGETED): "b",
        ("skip", UNTARGETED): "b",
    }


def test_fusion_costs_what_all_losses_cost():
    fused = fuse_lines(
        pd.DataFrame([made("i", "a"), made("i", "b", forwards=5.0), made("j", "a")])
    ).set_index("key")
    assert fused["forwards"].to_dict() == {"i": 7, "j": 2}
    assert fused["seconds"].to_dict() == {"i": 1.0, "j": 0.5}


def test_rates_leave_out_what_was_reached_before():
    rates = success_rates(
        pd.DataFrame(
            [
                made("a", "x", steps=2),
                made("b", "x", steps=4),
                made("c", "x"),
                made("d", "x", steps=1, already=True),
                made("e", "x", skipped=True, steps=0, success=False),
                made("f", "x", flat=True),
            ]
        )
    ).set_index("loss")
    rate = rates.loc["x"]
    assert (rate["success"], rate["steps"], rate["n"], rate["successes"]) == (0.5, 3, 4, 2)
    assert (rate["already"], rate["skipped"], rate["flat"]) == (1 / 5, 1, 0.5)
    assert rate["linf"] == pytest.approx(3 / 255)
    assert rate["success_low"] < 0.5 < rate["success_high"]
    assert rates.loc[FUSED, "success"] == 0.5


def test_published_rates_count_everything_that_the_last_loss_did_not_leave_alone():
    lines = pd.DataFrame(
        [
            made("a", "x", steps=1, already=True),
            made("b", "x", steps=3),
            made("a", "y", steps=1, already=True),
            made("b", "y", skipped=True, steps=0, success=False),
        ]
    ).assign(protocol="notebooks", target="random")
    rates = success_rates(lines).set_index("loss")
    assert rates["success"].to_dict() == {FUSED: 2.0, "x": 1.0, "y": 1.0}  # 200 %, as they would
    assert rates["steps"].to_dict() == {FUSED: 2.0, "x": 2.0, "y": 1.0}


def test_rates_of_several_protocols_or_of_nothing_are_refused():
    lines = pd.DataFrame([made("a", "x"), made("a", "x", protocol="notebooks")])
    for wrong in (lines, lines.iloc[:0]):
        with pytest.raises(ValueError, match="lines of one protocol and one seed"):
            success_rates(wrong)


@pytest.fixture(scope="module")
def lines():
    settings = {"losses": LOSSES, "epsilon": 0.5, "steps": 6}
    return lines_of(BlobFinder(), faint(6), **settings)


def test_no_loss_succeeds_more_often_than_the_fusion(lines):
    rates = success_rates(lines)
    for _, some in rates.groupby("target"):
        some = some.set_index("loss").fillna(0.0)  # where all had succeeded before
        assert (some["success"].drop(FUSED) <= some.loc[FUSED, "success"]).all()
        assert some["n"].nunique() == 1
    black = rates[rates["target"] == "black"].set_index("loss")["success"]
    assert black["lovasz_hinge"] < black[FUSED] < 1


def test_fusion_succeeds_where_some_loss_does_though_none_succeeds_everywhere():
    def large(logits, masks):
        return bce(logits, masks) * (masks.flatten(1).sum(1) > 75)

    def small(logits, masks):
        return bce(logits, masks) * (masks.flatten(1).sum(1) <= 75)

    lines = lines_of(
        BlobFinder(), faint(6), targets=[UNTARGETED], losses=[large, small], epsilon=0.5, steps=6
    )
    rates = success_rates(lines).set_index("loss")["success"]
    assert rates[FUSED] == rates["large"] + rates["small"]
    assert rates.min() > 0
    assert lines[~lines["success"]]["flat"].any()


def test_fused_lines_take_the_fewest_steps_of_each_image(lines):
    fused = fuse_lines(lines).set_index(["key", "target"])
    assert len(fused) == 6 * 5
    for name, some in lines.groupby(["key", "target"]):
        won = some[some["success"]]
        assert fused.loc[name, "success"] == (len(won) > 0)
        if len(won):
            assert fused.loc[name, "steps"] == won["steps"].min()


def test_published_rates_are_those_of_a_plain_count():
    lines = lines_of(BlobFinder(), faint(3), losses=LOSSES, faithful=True)
    rates = success_rates(lines).set_index(["target", "loss"])
    for target, some in lines.groupby("target"):
        fused = {}
        for loss in LOSSES:
            of_loss = [line for _, line in some[some["loss"] == loss].iterrows()]
            of_loss = [line for line in of_loss if not line["skipped"]]
            steps = [line["steps"] for line in of_loss if line["success"]]
            assert rates.loc[(target, loss), "success"] * len(of_loss) == pytest.approx(len(steps))
            if steps:
                assert rates.loc[(target, loss), "steps"] == pytest.approx(np.mean(steps))
            for line in of_loss:
                if line["success"]:
                    best = fused.get(line["key"], 99)
                    fused[line["key"]] = min(best, line["steps"])
        rate = rates.loc[(target, FUSED)]
        assert rate["success"] == pytest.approx(len(fused) / len(of_loss))
        if fused:
            assert rate["steps"] == pytest.approx(np.mean(list(fused.values())))
