"""Attacks that look for the smallest perturbation, from the plan to the rows."""

from functools import partial

import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from palpate.attacks import UnbrokenWarning, bisection, dag, ddn, hopskipjump, pgd
from palpate.evaluation import evaluate, read_rows
from palpate.evaluation.image_attacks import at_radii, is_minimal
from palpate.evaluation.results.rows import SCHEMA
from palpate.evaluation.sanity import card_from_rows

from .blobs import BlobFinder, blobs

QUICK = {
    "bisection": partial(bisection, inner=partial(pgd, steps=3)),
    "ddn": partial(ddn, steps=25),
}


def press(data, attacks=QUICK, **settings):
    return evaluate(BlobFinder(), data, attacks, **settings)


def timeless(rows):
    return rows.drop(columns="seconds")


def test_they_are_planned_once_at_the_largest_radius_they_may_use():
    attacks = {"dag": dag, "ddn": ddn, "near": partial(bisection, max_epsilon=0.1), "pgd": pgd}
    crossed = at_radii(attacks, [0.1, 0.2])[1:]
    assert [(t.name, t.norm, t.epsilon, t.minimal) for t in crossed] == [
        ("dag", "linf", 1.0, True),
        ("ddn", "l2", float("inf"), True),
        ("near", "linf", 0.1, True),
        ("pgd", "linf", 0.1, False),
        ("pgd", "linf", 0.2, False),
    ]
    assert str(crossed[0]) == "dag linf smallest"
    assert not is_minimal(pgd)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (partial(ddn, tau=0.6), "'mine' stops at DSC 0.6, but .* at DSC 0.5 or below"),
        (partial(hopskipjump, epsilon=0.1, tau=0.6), "'mine' stops at DSC 0.6, but .* at DSC 0.5"),
        (partial(ddn, targeted=True), "'mine' to be untargeted"),
        (partial(pgd, epsilon=0.1, targeted=True), "'mine' to be untargeted.* would look robust"),
        (partial(dag, max_epsilon=8.0), "got 8.0"),
    ],
)
def test_senseless_plans_are_refused(attack, message):
    with pytest.raises(ValueError, match=message):
        at_radii({"mine": attack}, None, tau=0.5)


def test_rows_hold_the_length_that_was_measured():
    rows = press(blobs(3))
    assert rows.groupby("attack")["minimal"].agg(["all", "any"]).to_numpy().tolist() == [
        [True, True], [False, False], [True, True],
    ]  # fmt: skip
    sought = rows[rows["minimal"]]
    assert sought["success"].all()
    assert (sought["dsc"] <= 0.5).all()
    length = sought["l2"].where(sought["norm"] == "l2", sought["linf"])
    assert ((length > 0) & (length < sought["epsilon"])).all()
    assert (sought["forwards"] > sought["backwards"]).all()
    assert (sought["backwards"] >= 8).all()


def test_the_goal_of_the_evaluation_is_that_of_the_attack():
    attack = partial(ddn, steps=25)
    lengths = [press(blobs(2), {"ddn": attack}, tau=tau).query("minimal") for tau in (0.7, 0.3)]
    assert (lengths[0]["dsc"] <= 0.7).all()
    assert (lengths[1]["dsc"] <= 0.3).all()
    assert (lengths[0]["l2"].to_numpy() < lengths[1]["l2"].to_numpy()).all()
    lower = press(blobs(2), {"ddn": partial(attack, tau=0.3)}, tau=0.7).query("minimal")
    assert (lower["dsc"] <= 0.3).all()


def test_what_was_not_broken_is_a_row_like_any_other():
    with pytest.warns(UnbrokenWarning, match="3 of 3 images"):
        rows = press(blobs(3), {"dag": partial(dag, max_epsilon=0.001)}).query("minimal")
    assert len(rows) == 3
    assert not rows["success"].any()
    assert (rows["failure"] == "none").all()
    assert (rows["linf"] == 0).all()
    assert (rows["dsc"] == rows["dsc_clean"]).all()


def test_batches_and_resuming_change_nothing(tmp_path):
    # Few steps: over many, DDN makes visible differences of the last digits.
    attacks = QUICK | {"ddn": partial(ddn, steps=10, start_epsilon=2.0)}
    whole = timeless(press(blobs(4), attacks, batch_size=4))
    alone = timeless(press(blobs(4), attacks, batch_size=1))
    cut = [column for column in whole if column not in ("forwards", "backwards")]  # batch means
    assert_frame_equal(whole[cut], alone[cut], rtol=1e-3, atol=1e-4)
    press(blobs(4), attacks, out=tmp_path, limit=2, batch_size=4)
    again = timeless(press(blobs(4), attacks, out=tmp_path, batch_size=4))
    assert_frame_equal(again[cut], whole[cut], rtol=1e-3, atol=1e-4)
    parts = sorted(tmp_path.glob("part-*.parquet"))
    assert_frame_equal(timeless(press(blobs(4), attacks, out=tmp_path, batch_size=4)), again)
    assert sorted(tmp_path.glob("part-*.parquet")) == parts


def test_rows_from_before_there_was_the_column_are_read(tmp_path):
    rows = press(blobs(2), {"pgd": partial(pgd, epsilon=0.1, steps=2)}, out=tmp_path)
    (path,) = tmp_path.glob("part-*.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["minimal"]), path)
    assert not pq.read_schema(path).equals(SCHEMA)
    assert_frame_equal(read_rows(tmp_path), rows)


def test_the_card_judges_damage_by_attacks_of_stated_radius():
    with pytest.warns(UnbrokenWarning):
        rows = press(blobs(3), {"dag": partial(dag, max_epsilon=0.001)})
    status = {check.number: check.status for check in card_from_rows(rows)}
    assert status[2] == "pass"
    assert {status[number] for number in (3, 5, 6, 17)} == {"not_run"}
    with pytest.warns(UnbrokenWarning):
        both = press(blobs(3), {"dag": partial(dag, max_epsilon=0.001), "pgd": pgd}, epsilons=[0.1])
    status = {check.number: check.status for check in card_from_rows(both)}
    assert status[17] == "pass"  # the clean images that dag gave back are no stuck attack
