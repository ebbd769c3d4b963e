"""Robustness radii in the report, censored where an image was not broken."""

import numpy as np
import pandas as pd
import pytest

from palpate.reporting.numbers.checked_rows import checked, of_fixed_radius
from palpate.reporting.numbers.summary import radii, summarise
from palpate.reporting.report import report

from .test_tables import write


@pytest.fixture
def kvasir(kvasir):
    """One attack of a stated radius is enough beside those that look for it."""
    pgd = (kvasir["attack"] == "pgd") & np.isclose(kvasir["epsilon"], 4 / 255)
    return kvasir[pgd | (kvasir["attack"] == "clean")].reset_index(drop=True)


def sought(kvasir, attack="bisection", norm="linf", unbroken=0):
    """Rows of an attack for the smallest perturbation: radii of 1, 2, 3, ... grey levels."""
    rows = kvasir[kvasir["attack"] == "clean"].copy()
    number = np.arange(len(rows))
    broken = number < len(rows) - unbroken
    length = np.where(broken, (1 + number) / 255, 0.0)
    return rows.assign(
        attack=attack, norm=norm, epsilon=1.0, minimal=True, linf=length, l2=100 * length,
        dsc=np.where(broken, 0.45, rows["dsc_clean"]), success=broken,
        failure=np.where(broken, "shifted", "none"), forwards=400.0, backwards=390.0,
    )  # fmt: skip


@pytest.fixture
def both(kvasir):
    return pd.concat([kvasir.assign(minimal=False), sought(kvasir, unbroken=4)])


def test_the_median_counts_images_that_held_as_beyond_every_radius(both, tmp_path):
    tables = write(both, tmp_path)
    (line,) = tables["radius"].numbers.to_dict("records")
    assert (line["n"], line["unbroken"], line["lost"]) == (20, 4, 0)
    assert line["radius"] == pytest.approx(10 / 255)  # of the broken 16 alone it would be 8
    assert line["radius_low"] < line["radius"] < line["radius_high"]
    assert line["broken"] == pytest.approx(0.8)
    cell = tables["radius"].shown["Median radius"].iloc[0]
    assert cell.startswith("10/255 [")
    assert "bisection,linf" in (tmp_path / "radius.csv").read_text()


def test_more_than_half_unbroken_is_said(kvasir, tmp_path):
    rows = pd.concat([kvasir, sought(kvasir, "ddn", "l2", unbroken=15)])
    table = write(rows, tmp_path)["radius"]
    assert table.shown["Median radius"].iloc[0].startswith("not reached [")
    assert table.shown["Attack"].iloc[0] == "DDN (L2)"
    assert table.shown["Within"].iloc[0] == "1"


def test_images_lost_before_the_attack_are_left_out_and_counted(both, tmp_path):
    lost = both["key"].unique()[:3]
    both.loc[both["key"].isin(lost), "failure"] = "vanished"
    (line,) = radii(checked(both)).to_dict("records")
    assert (line["n"], line["lost"]) == (17, 3)
    assert line["radius"] == pytest.approx(12 / 255)  # of 4, 5, ... 16, and four that held


def test_no_other_table_sees_these_rows(kvasir, both, tmp_path):
    plain, mixed = write(kvasir, tmp_path / "a"), write(both, tmp_path / "b")
    assert set(mixed) == {*plain, "radius"}
    for name, table in plain.items():
        assert table.shown.equals(mixed[name].shown), name
    fixed = of_fixed_radius(checked(both))
    assert "bisection" not in set(fixed["attack"])


def test_without_such_rows_there_is_no_radius(kvasir, tmp_path):
    assert summarise(checked(kvasir)).radii.empty
    assert "radius" not in write(kvasir, tmp_path)


def test_the_page_speaks_of_radii_where_there_is_nothing_else(kvasir, tmp_path, png_figures):
    rows = pd.concat([kvasir[kvasir["attack"] == "clean"], sought(kvasir)])
    text = report(rows, tmp_path).read_text()
    assert "Bisection makes half of the predictions for 20 images of kvasir fail within" in text
    assert "within a radius of 10/255" in text
    assert "Robustness radius" in text
