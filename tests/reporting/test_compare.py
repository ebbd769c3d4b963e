"""Runs side by side: the differences are those of the same images, and nothing else is averaged."""

import sys

import numpy as np
import pandas as pd
import pytest

from palpate.evaluation.statistics.significance import holm
from palpate.reporting.compare import compare, compared

from .conftest import make_rows

KVASIR = {"kvasir": (("polyp",), 30, 0.86)}


@pytest.fixture(scope="module")
def runs():
    """A run, and one that is five points better on every attacked image but ten images short."""
    first = make_rows(KVASIR, attacks=("noise", "pgd"), steps=(8,))
    second = first.copy()
    attacked = second["attack"] != "clean"
    second.loc[attacked, "dsc"] = np.minimum(second.loc[attacked, "dsc"] + 0.05, 1.0)
    second["prompt"] = "in other words"
    kept = sorted(second["key"].unique())[:20]
    return {"plain": first, "tuned": second[second["key"].isin(kept)]}


def test_differences_are_paired_by_image_whatever_the_prompt(runs):
    numbers = compared(runs).numbers
    assert set(numbers["n"]) == {20}
    first = runs["plain"].set_index(["key", "attack", "epsilon"])["dsc"]
    second = runs["tuned"].set_index(["key", "attack", "epsilon"])["dsc"]
    expected = (second - first).dropna().groupby(["attack", "epsilon"]).mean()
    found = numbers.set_index(["attack", "epsilon"])["difference"]
    pd.testing.assert_series_equal(
        found.sort_index(), expected.sort_index(), check_names=False, atol=1e-12
    )
    clean = numbers[numbers["attack"] == "clean"].iloc[0]
    assert (clean["difference"], clean["p"]) == (0, 1)
    assert (numbers.loc[numbers["attack"] == "pgd", "p_holm"] < 0.05).all()
    assert np.allclose(numbers["p_holm"], holm(numbers["p"]))


def test_the_page_shows_every_run_as_data_of_its_own(runs, tmp_path, monkeypatch):
    # Charts, which other tests look at, take longer than all the rest.
    monkeypatch.setattr(sys.modules["palpate.reporting.report"], "charts_of", lambda *_: iter(()))
    page = compare(runs, tmp_path).read_text()
    assert "kvasir, plain" in page
    assert "kvasir, tuned" in page
    assert "Against plain, image by image" in page
    main = pd.read_csv(tmp_path / "tables" / "main.csv")
    means = main[main["attack"] == "pgd"].groupby("facet")["dsc"].mean()
    assert means["kvasir, tuned"] > means["kvasir, plain"]
    assert (tmp_path / "tables" / "compare.tex").is_file()


def test_only_what_both_did_is_compared(runs):
    fewer = runs["tuned"][runs["tuned"]["attack"].isin(["clean", "noise"])]
    assert set(compared({**runs, "tuned": fewer}).numbers["attack"]) == {"clean", "noise"}


def test_what_cannot_be_compared_is_refused(runs, tmp_path):
    with pytest.raises(ValueError, match="two or more runs to compare, got plain"):
        compare({"plain": runs["plain"]}, tmp_path)
    elsewhere = make_rows({"isic": (("skin lesion",), 20, 0.9)}, attacks=("pgd",), steps=(8,))
    with pytest.raises(ValueError, match="got plain, isic, which share no image"):
        compare({"plain": runs["plain"], "isic": elsewhere}, tmp_path)


def asked_with_all(rows, *levels):
    """The rows as of ``prompt: all``, whose keys end in the level."""
    return pd.concat(
        [rows.assign(key=rows["key"] + f"#{p}", prompt=p, prompt_level=p) for p in levels]
    )


def test_a_run_with_one_prompt_is_paired_by_level_with_one_that_took_all(runs):
    one = runs["plain"].assign(prompt_level="p1")
    every = asked_with_all(runs["tuned"], "p1", "p2")
    for pair in ({"one": one, "all": every}, {"all": every, "one": one}):
        table = compared(pair)
        assert set(table.numbers["n"]) == {20}
        assert "prompts of the same level" in table.caption
    alike = compared({"one": one, "other": runs["tuned"]})
    assert "same level" not in alike.caption
    with pytest.raises(ValueError, match=r"share no image and condition.*one of their levels"):
        compared({"one": one, "all": asked_with_all(runs["tuned"], "p2", "p3")})
