"""The worst case over the white-box attacks of a run: its rows, its name, and the headline."""

import numpy as np
import pytest

from palpate.reporting.html.headline import findings, headline
from palpate.reporting.labels import WORST
from palpate.reporting.numbers.checked_rows import CONDITION, IMAGE, checked
from palpate.reporting.numbers.focus import choose_focus
from palpate.reporting.numbers.summary import summarise
from palpate.reporting.numbers.worst_case import name_attacks, with_worst_case
from palpate.reporting.tables.main_table import main_tables


def worst_of(rows):
    found = with_worst_case(checked(rows))
    return found[found["attack"] == WORST]


def test_takes_the_lowest_dsc_of_each_image_and_the_cost_of_all(rows):
    worst = worst_of(rows).set_index([*IMAGE, "epsilon"])
    white = rows[rows["attack"].isin(["fgsm", "pgd"])].groupby([*IMAGE, "epsilon"])
    for column, expected in (
        ("dsc", white["dsc"].min()),
        ("backwards", white["backwards"].sum()),
        ("seconds", white["seconds"].sum()),
    ):
        assert np.allclose(worst[column], expected.reindex(worst.index))
    chosen = rows.set_index([*IMAGE, "epsilon", "dsc"])["failure"]
    keys = worst.set_index("dsc", append=True).index
    assert (chosen[~chosen.index.duplicated()].reindex(keys).to_numpy() == worst["failure"]).all()


def test_leaves_the_rows_of_the_run_and_their_order(rows):
    before = checked(rows)
    after = with_worst_case(before)
    assert after[after["attack"] != WORST].reset_index(drop=True).equals(before)
    names = list(after["attack"].unique())
    assert names == ["clean", "noise", "fgsm", "pgd", WORST]


def test_is_over_attacks_that_use_the_gradient_of_the_model(make):
    rows = make({"kvasir": (("polyp",), 4, 0.8)}, attacks=("noise", "square", "fgsm", "pgd"))
    square = rows["attack"] == "square"
    rows.loc[square, "dsc"] = 0.0
    rows.loc[square, ["forwards", "backwards"]] = 100.0, 0.0
    assert (worst_of(rows)["dsc"] > 0).all()
    focus = choose_focus(summarise(with_worst_case(checked(rows))).scores)
    assert focus.attack == "square"  # a stronger attack of another kind is not passed over


@pytest.mark.parametrize("attacks", [(), ("noise",), ("noise", "pgd")])
def test_needs_two_of_them(attacks, make):
    rows = make({"kvasir": (("polyp",), 3, 0.8)}, attacks=attacks, steps=(4,))
    assert worst_of(rows).empty


def test_an_image_without_one_of_the_attacks_has_none(make):
    rows = make({"kvasir": (("polyp",), 5, 0.8)}, steps=(4, 8))
    lost = (rows["attack"] == "fgsm") & (rows["key"] == rows["key"].iloc[0])
    lost &= np.isclose(rows["epsilon"], 4 / 255)
    assert worst_of(rows[~lost]).groupby("epsilon").size().tolist() == [4, 5]


def test_is_taken_at_each_radius_over_the_attacks_run_there(make):
    rows = make({"kvasir": (("polyp",), 3, 0.8)}, attacks=("fgsm", "pgd", "apgd"), steps=(2, 4))
    rows = rows[(rows["attack"] != "apgd") | np.isclose(rows["epsilon"], 4 / 255)]
    found = with_worst_case(checked(rows))
    focus = name_attacks(choose_focus(summarise(found).scores), found)
    assert (focus.attack, focus.over, focus.single) == (WORST, ("fgsm", "pgd", "apgd"), "pgd")
    said = headline(findings(summarise(found).scores, focus), focus)
    assert "the worst case over FGSM, PGD and APGD reduces DSC" in said


def test_is_chosen_where_it_equals_the_strongest_attack(make):
    rows = make({"kvasir": (("polyp",), 3, 0.8)}, attacks=("fgsm", "pgd"), steps=(4,))
    rows.loc[rows["attack"] == "fgsm", "dsc"] = 1.0
    assert choose_focus(summarise(with_worst_case(checked(rows))).scores).attack == WORST


def test_the_attacks_are_tested_and_the_worst_case_is_not(rows):
    summary = summarise(with_worst_case(checked(rows)))
    assert set(summary.tests["attack"]) == {"noise", "fgsm", "pgd"}
    assert set(summary.scores["attack"]) == {"clean", "noise", "fgsm", "pgd", WORST}
    assert not summary.tests.duplicated(["facet", *CONDITION, "against"]).any()


def test_the_main_table_says_what_it_is_over(make):
    rows = checked(make({"kvasir": (("polyp",), 3, 0.8)}, steps=(4,)))
    (table,) = main_tables(rows, summarise(with_worst_case(rows)).scores)
    assert "Worst case: for each image, the lowest DSC under FGSM and PGD. " in table.caption
    assert list(table.shown["Attack"].unique()) == ["Random noise", "FGSM", "PGD", "Worst case"]
