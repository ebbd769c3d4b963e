import numpy as np
import pandas as pd
import pytest

from palpate.reporting.numbers.checked_rows import REQUIRED, checked, gaps


def test_orders_by_data_attack_and_radius(rows):
    mixed = rows.sample(frac=1, random_state=0)
    ordered = checked(mixed)
    first = ordered[ordered["facet"] == "kvasir"]
    assert first["attack"].unique().tolist() == ["clean", "noise", "fgsm", "pgd"]
    assert first[first["attack"] == "pgd"]["epsilon"].is_monotonic_increasing
    assert len(ordered) == len(rows)


def test_names_structures_only_where_there_are_several(rows):
    facets = checked(rows)["facet"].unique()
    assert {"kvasir", "isic", "camus · myocardium"} <= set(facets)


def test_leaves_the_rows_of_the_caller_alone(rows):
    before = rows.copy()
    checked(rows)
    pd.testing.assert_frame_equal(rows, before)


@pytest.mark.parametrize("column", REQUIRED)
def test_names_a_missing_column(column, rows):
    with pytest.raises(ValueError, match=rf"columns of an evaluation, {column} missing"):
        checked(rows.drop(columns=column))


def test_refuses_nothing(rows):
    with pytest.raises(ValueError, match="Expected rows to report, got none"):
        checked(rows.iloc[:0])


@pytest.mark.parametrize(("column", "other"), [("protocol", "paper"), ("seed", 7)])
def test_refuses_to_merge_runs(column, other, rows):
    rows.loc[rows.index[-1], column] = other
    with pytest.raises(ValueError, match=f"Expected rows of one {column}, got .*{other}"):
        checked(rows)


def test_refuses_to_merge_splits_of_one_data_set_only(rows):
    rows.loc[rows["dataset"] == "isic", "split"] = "val"
    checked(rows)
    rows.loc[rows.index[-1], "split"] = "train"
    with pytest.raises(ValueError, match="one split of camus, got test, train"):
        checked(rows)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5, -0.1])
@pytest.mark.parametrize("column", ["dsc", "iou", "dsc_clean"])
def test_refuses_scores_that_are_none(column, value, rows):
    rows.loc[[3, 5], column] = value
    with pytest.raises(ValueError, match=rf"Expected {column} in \[0, 1\].* and 1 more"):
        checked(rows)


def test_refuses_the_same_row_twice(rows):
    with pytest.raises(ValueError, match="more than once"):
        checked(pd.concat([rows, rows.iloc[[40]]]))


def test_refuses_attacks_without_clean_rows(rows):
    with pytest.raises(ValueError, match="Expected clean rows of isic"):
        checked(rows[(rows["dataset"] != "isic") | (rows["attack"] != "clean")])


def test_tells_which_conditions_are_incomplete(rows):
    assert gaps(checked(rows)) == []
    cut = (rows["dataset"] == "kvasir") & (rows["attack"] == "pgd") & (rows["epsilon"] > 0.03)
    cut &= rows["key"] != rows["key"].iloc[0]
    assert gaps(checked(rows[~cut])) == ["kvasir, PGD at 8/255: 1 of 20 images"]
