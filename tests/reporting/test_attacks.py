"""Attack against attack: paired differences, budgets, and strength over passes."""

import html
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import palpate as pp
from palpate.evaluation.statistics.intervals import paired_difference
from palpate.reporting.attacks import against_table, strength_table
from palpate.reporting.labels import attack_label
from palpate.reporting.report import report

from .conftest import make_rows

KVASIR = {"kvasir": (("polyp",), 30, 0.86)}


@pytest.fixture(scope="module")
def rows():
    """PGD, an attack that is five points stronger, and both with two budgets."""
    made = make_rows(KVASIR, attacks=("noise", "pgd"), steps=(4, 8))
    pgd = made[made["attack"] == "pgd"]
    parts = [made]
    for name, points, passes in (
        ("mine", 0.05, 20), ("mine@10", 0.0, 10), ("mine@40", 0.05, 40), ("pgd@10", -0.02, 11),
        ("pgd@40", 0.0, 41),
    ):  # fmt: skip
        dsc = (pgd["dsc"] - points).clip(0, 1)
        parts.append(pgd.assign(attack=name, dsc=dsc, forwards=passes, backwards=float(passes)))
    return pd.concat(parts, ignore_index=True)


def test_the_difference_is_that_of_the_same_images_with_interval_test_and_cost(rows):
    found = pp.compare(rows, "mine", "pgd")
    assert list(found["epsilon"] * 255) == [4, 8]
    for _, line in found.iterrows():
        some = rows[np.isclose(rows["epsilon"], line["epsilon"])].set_index("key")
        mine, pgd = (some.loc[some["attack"] == name, "dsc"] for name in ("mine", "pgd"))
        expected = paired_difference(pgd, mine.loc[pgd.index], pgd.index.to_numpy())
        assert line["difference"] == pytest.approx(expected.mean)
        assert line["difference_low"] == pytest.approx(expected.low, abs=0.005)
        assert line["difference"] < 0
        assert (line["n"], line["passes"], line["passes_against"]) == (30, 40, 81)
    assert (found["p_holm"] < 0.001).all()
    assert (found["p_holm"] >= found["p"]).all()


def test_patients_are_the_units_of_interval_and_test(rows):
    together = rows.assign(group=rows["key"].str[-1])
    assert set(pp.compare(together, "mine", "pgd")["groups"]) == {10}


def test_budgets_are_compared_with_the_same_budget_or_with_the_single_one(rows):
    both = pp.compare(rows[rows["attack"] != "mine"].replace({"pgd": "apgd"}), "mine", "pgd")
    assert set(zip(both["attack"], both["against"], strict=True)) == {
        ("mine@10", "pgd@10"), ("mine@40", "pgd@40"),
    }  # fmt: skip
    one = pp.compare(rows[~rows["attack"].isin(["mine"])], "mine", ["pgd", "noise"])
    assert set(one["against"]) == {"pgd", "noise"}
    assert list(one["attack"].unique()) == ["mine@10", "mine@40"]


def test_what_cannot_be_compared_is_named(rows):
    with pytest.raises(ValueError, match=r"no rows of the attack 'mien'.*Did you mean 'mine'"):
        pp.compare(rows, "mien", "pgd")
    other = rows[(rows["attack"] != "mine") | (rows["epsilon"] < 5 / 255)]
    apart = other[(other["attack"] != "pgd") | (other["epsilon"] > 5 / 255)]
    with pytest.raises(ValueError, match="mine: 4/255; pgd: 8/255"):
        pp.compare(apart, "mine", "pgd")
    with pytest.raises(ValueError, match="an attack and itself"):
        pp.compare(rows, "pgd", "pgd")


def test_strength_is_listed_by_family_budget_and_passes(rows):
    table = strength_table(rows[rows["attack"] != "mine"])
    some = table.numbers[table.numbers["epsilon"] > 5 / 255].set_index("attack")
    assert some.loc["mine@40", ["family", "budget", "passes"]].tolist() == ["mine", "40", 80]
    assert some.loc["mine@40", "dsc"] < some.loc["mine@10", "dsc"]
    assert strength_table(rows[~rows["attack"].str.contains("@")]) is None
    assert attack_label("pgd@40") == "PGD (40)"


def test_rivals_without_rows_are_left_out(rows):
    assert against_table(rows, {"mine": ["apgd"]}) is None
    assert len(against_table(rows, {"mine": ["pgd", "apgd"]}).numbers) == 2


def test_the_page_shows_both_tables_and_the_curve(rows, tmp_path, png_figures):
    few = rows[rows["key"].isin(rows["key"].unique()[:10]) & ~rows["epsilon"].between(0.001, 0.02)]
    page = report(few, tmp_path, against={"mine": ["pgd"]}, command="make it").read_text()
    assert "Attack against attack, image by image" in page
    assert "Strength over passes at" in page
    assert "make it" in page
    assert (tmp_path / "tables" / "against.tex").is_file()
    assert (tmp_path / "figures" / "dsc-over-passes.png").is_file()
    order = pd.read_csv(tmp_path / "tables" / "main.csv")["attack"].unique().tolist()
    assert order.index("pgd@10") < order.index("pgd@40")


SCRIPT = """
import pandas as pd
import palpate as pp

rows = pd.read_parquet("rows.parquet")
print(pp.report(rows, "report of mine"))
"""


@pytest.mark.slow
def test_the_command_on_the_page_of_a_script_makes_the_report_again(rows, tmp_path):
    place = tmp_path / "a folder"
    place.mkdir()
    rows[rows["attack"].isin(["clean", "noise"])].to_parquet(place / "rows.parquet")
    (place / "evaluate.py").write_text(SCRIPT)
    sources = str(Path(pp.__file__).parents[1])
    run = {"env": {"PYTHONPATH": sources, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}}
    subprocess.run([sys.executable, "evaluate.py"], cwd=place, check=True, **run)
    page = place / "report of mine" / "report" / "index.html"
    found = re.search(r"data-copy><code>(.*?)</code>", page.read_text(), re.DOTALL)
    page.unlink()
    subprocess.run(["sh", "-c", html.unescape(found[1])], cwd="/", check=True, **run)
    assert page.is_file()
