"""Rows computed again: equal to the last bit, within rounding, or different."""

import pytest

from palpate.evaluation.results.agreement import agreement

from .sample_row import ROW


@pytest.fixture
def row():
    return ROW.columns()


def test_seconds_are_not_compared(row):
    assert agreement(row, row | {"seconds": 99.0}).status == "identical"


@pytest.mark.parametrize("column", ["dsc", "iou", "area", "loss"])
def test_the_last_digits_are_rounding(row, column):
    again = row | {column: row[column] + 1e-4}
    found = agreement(row, again)
    assert (found.status, set(found.differing)) == ("rounding", {column})


def test_a_score_may_move_further_if_the_attack_found_another_image(row):
    moved = row | {"dsc": row["dsc"] + 0.01}
    assert agreement(row, moved).status == "differs"
    assert agreement(row, moved | {"l2": row["l2"] * 1.001}).status == "rounding"


@pytest.mark.parametrize(
    ("column", "value"),
    [("key", "x"), ("epsilon", 0.5), ("seed", 1), ("prompt", "x"), ("group", "x"), ("height", 1)],
)
def test_what_no_rounding_changes_must_be_equal(row, column, value):
    found = agreement(row, row | {column: value})
    assert (found.status, set(found.differing)) == ("differs", {column})


def test_a_flag_flips_only_with_the_score_that_decides_it(row):
    row |= {"dsc": 0.5001, "dsc_clean": 0.9, "success": False, "failure": "none"}
    assert agreement(row, row | {"success": True}).status == "differs"
    assert agreement(row, row | {"success": True, "dsc": 0.4999}).status == "rounding"
