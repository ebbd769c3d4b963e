"""The tables, against numbers worked out again by other means."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from palpate.evaluation import sanity
from palpate.evaluation.statistics.intervals import mean_interval
from palpate.evaluation.statistics.significance import holm
from palpate.reporting.numbers.checked_rows import checked
from palpate.reporting.numbers.summary import curve_area, summarise
from palpate.reporting.tables.gains import gains
from palpate.reporting.tables.markdown_latex import escape_latex, escape_markdown
from palpate.reporting.tables.tail import lower_tail
from palpate.reporting.tables.write import tally, write_tables


def write(rows, folder):
    rows = checked(rows)
    card = sanity.card_from_rows(rows)
    tables = write_tables(rows, summarise(rows), folder, sanity=card)
    return {table.name: table for table in tables}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def tables(all_rows, folder):
    return write(all_rows, folder)


@pytest.fixture
def kvasir(kvasir):
    """A control and an attack at one radius: each condition takes its time."""
    kept = kvasir["attack"].isin(["noise", "pgd"]) & np.isclose(kvasir["epsilon"], 4 / 255)
    return kvasir[kept | (kvasir["attack"] == "clean")].reset_index(drop=True)


def read(folder, name):
    return pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=["", "nan"])


def line_of(frame, attack="pgd", step=4, facet="kvasir"):
    same = (frame["attack"] == attack) & np.isclose(frame["epsilon"], step / 255)
    (index,) = frame[same & (frame["facet"] == facet)].index
    return frame.loc[index]


def test_every_table_is_written_three_times(tables, folder):
    assert {"main", "tests", "failures", "size", "worst-decile"} <= set(tables)
    for name in tables:
        for suffix in ("csv", "md", "tex"):
            assert (folder / f"{name}.{suffix}").stat().st_size > 100


def test_main_numbers_are_means_over_images(rows, tables, folder):
    line = line_of(read(folder, "main"))
    some = rows[(rows["dataset"] == "kvasir") & (rows["attack"] == "pgd")]
    some = some[np.isclose(some["epsilon"], 4 / 255)]
    assert line["n"] == len(some) == 20
    assert line["dsc"] == pytest.approx(sum(some["dsc"]) / 20, abs=1e-12)
    assert line["iou"] == pytest.approx(sum(some["iou"]) / 20, abs=1e-12)
    assert line["drop"] == pytest.approx(sum(some["dsc_clean"] - some["dsc"]) / 20, abs=1e-12)
    assert line["success"] == pytest.approx(some["success"].mean())
    assert (line["forwards"], line["backwards"]) == (41, 40)
    assert line["seconds"] == pytest.approx(0.07 * 41 + 0.13 * 40)


def test_intervals_know_about_patients(rows, tables, folder):
    line = line_of(read(folder, "main"), facet="camus · myocardium")
    some = rows[(rows["structure"] == "myocardium") & (rows["attack"] == "pgd")]
    some = some[np.isclose(some["epsilon"], 4 / 255)]
    expected = mean_interval(some["dsc"], some["group"])
    assert (line["dsc_low"], line["dsc_high"]) == pytest.approx((expected.low, expected.high))
    assert (line["n"], line["groups"]) == (12, 6)


def test_main_text_shows_the_numbers_of_the_csv(tables, folder):
    line = line_of(read(folder, "main"))
    cell = f"{100 * line['dsc']:.1f} [{100 * line['dsc_low']:.1f}, {100 * line['dsc_high']:.1f}]"
    shown = tables["main"].shown
    same = (shown["Data"] == "kvasir") & (shown["Attack"] == "PGD") & (shown["Score"] == "DSC")
    assert shown[same]["4/255"].tolist() == [cell]
    assert cell in (folder / "main.md").read_text()


def test_success_is_over_images_that_could_be_lost(kvasir, tmp_path):
    lost = kvasir["key"].unique()[:5]
    kvasir.loc[kvasir["key"].isin(lost), ["failure", "success"]] = ["vanished", False]
    write(kvasir, tmp_path)
    line = line_of(read(tmp_path, "failures"))
    some = kvasir[(kvasir["attack"] == "pgd") & np.isclose(kvasir["epsilon"], 4 / 255)]
    assert line["n_eligible"] == 15
    assert line["success"] == pytest.approx(some["success"].sum() / 15)
    assert line["vanished"] == pytest.approx((some["failure"] == "vanished").sum() / 20)


def test_failure_modes_add_up_to_one(tables):
    numbers = tables["failures"].numbers
    total = numbers[["none", "shifted", "hallucinated", "vanished"]].sum(axis=1)
    assert np.allclose(total, 1)


def test_paired_tests_compare_the_same_images(rows, tables, folder):
    numbers = read(folder, "tests")
    at = {a: rows[(rows["attack"] == a) & np.isclose(rows["epsilon"], 4 / 255)] for a in STRONG}
    at = {a: some[some["dataset"] == "kvasir"].set_index("key")["dsc"] for a, some in at.items()}
    line = line_of(numbers[numbers["against"] == "noise"])
    assert line["difference"] == pytest.approx((at["pgd"] - at["noise"]).mean(), abs=1e-12)
    assert line["difference_low"] < line["difference"] < line["difference_high"] < 0
    assert line["effect"] == -1
    assert np.allclose(numbers["p_holm"], holm(numbers["p"]))
    assert "noise" not in set(numbers[numbers["attack"] == "noise"]["against"])


STRONG = ("noise", "pgd")


def test_noise_control_is_matched_by_image_not_by_place(kvasir, tmp_path):
    noise = kvasir[kvasir["attack"] == "noise"].index
    shuffled = kvasir.drop(noise[::3])  # some controls are missing
    write(shuffled, tmp_path)
    numbers = read(tmp_path, "tests")
    line = line_of(numbers[numbers["against"] == "noise"])
    both = shuffled[np.isclose(shuffled["epsilon"], 4 / 255)]
    table = both.pivot(index="key", columns="attack", values="dsc").dropna()
    assert line["n"] == len(table) < 20
    assert line["difference"] == pytest.approx((table["pgd"] - table["noise"]).mean(), abs=1e-12)


def test_sizes_are_thirds_by_mask_area(rows, tables, folder):
    numbers = read(folder, "size")
    small = line_of(numbers[numbers["size"] == "small"])
    some = rows[(rows["dataset"] == "kvasir") & (rows["attack"] == "pgd")]
    some = some[np.isclose(some["epsilon"], 4 / 255)].sort_values("mask_area")
    assert small["dsc"] == pytest.approx(some["dsc"].iloc[:7].mean(), abs=1e-12)
    assert numbers.groupby(["facet", "attack", "epsilon"])["n"].sum().isin([12, 20, 24]).all()


def test_worst_tenth_is_the_mean_of_the_lowest(rows, tables, folder):
    line = line_of(read(folder, "worst-decile"))
    some = rows[(rows["dataset"] == "kvasir") & (rows["attack"] == "pgd")]
    some = some[np.isclose(some["epsilon"], 4 / 255)]["dsc"].sort_values()
    assert line["n_worst"] == 2
    assert line["worst"] == pytest.approx(some.iloc[:2].mean(), abs=1e-12)
    assert line["worst_low"] <= line["worst"] <= line["worst_high"]


def test_tail_interval_agrees_with_resampling_one_by_one():
    rng = np.random.default_rng(3)
    values, groups = rng.random(40), np.arange(40) // 2
    means = []
    for _ in range(2000):
        drawn = np.concatenate([values[groups == g] for g in rng.integers(0, 20, 20)])
        means.append(np.sort(drawn)[:4].mean())
    _, low, high = lower_tail(values, groups)
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.02)


def test_area_under_the_curve_is_that_of_the_mean_curve(rows, tables, folder):
    line = line_of(read(folder, "curve-area"), step=8)
    some = rows[(rows["dataset"] == "kvasir") & rows["attack"].isin(["clean", "pgd"])]
    means = some.groupby("epsilon")["dsc"].mean()
    expected = np.trapezoid(means, means.index) / means.index.max()
    assert line["area"] == pytest.approx(expected, abs=1e-12)


def test_a_number_never_travels_alone(tables):
    for table in tables.values():
        assert {"n", "groups"} <= set(table.numbers.columns)
        assert "n" in table.shown.columns
        for fact in ("Protocol sound", "seed 0", "kvasir 20", "95 %", "Sanity card: "):
            assert fact in table.caption


def test_distances_that_are_not_finite_are_counted(tables):
    numbers = tables["quality"].numbers
    line = line_of(numbers, step=8)
    assert 0 < line["n_hd95"] < line["n"]
    shown = tables["quality"].shown
    cells = shown[(shown["Data"] == "kvasir") & (shown["Attack"] == "PGD")]["HD95 (px)"]
    assert cells.iloc[-1].endswith(f"({line['n_hd95']:.0f})")


def test_only_clean_rows_give_one_table(rows, tmp_path):
    tables = write(rows[rows["attack"] == "clean"], tmp_path)
    assert set(tables) == {"main"}
    assert tables["main"].shown["Attack"].unique().tolist() == ["none"]


def test_one_image_has_no_interval(make, tmp_path):
    one = make({"kvasir": (("polyp",), 1, 0.8)}, attacks=("pgd",), steps=(8,))
    tables = write(one, tmp_path)
    assert "[–]" in tables["main"].shown["Clean"].iloc[0]
    assert "size" not in tables


def test_norms_do_not_share_a_table(kvasir, tmp_path):
    other = kvasir[kvasir["attack"] == "pgd"].assign(
        norm="l2", epsilon=lambda r: r["epsilon"] * 100
    )
    tables = write(pd.concat([kvasir, other]), tmp_path)
    assert {"main", "main-l2"} <= set(tables)
    assert "4/255" not in tables["main-l2"].shown.columns
    assert "l2" not in set(tables["main"].numbers["norm"])


def test_prompt_levels_are_told_apart(kvasir, tmp_path):
    second = kvasir.assign(prompt_level="p0", dsc=kvasir["dsc"] / 2)
    numbers = write(pd.concat([kvasir, second]), tmp_path)["prompt"].numbers
    p0, p3 = (line_of(numbers[numbers["prompt_level"] == level]) for level in ("p0", "p3"))
    assert p0["dsc"] == pytest.approx(p3["dsc"] / 2)


HOSTILE = r"a_b & 50% \input{x} $y$ #1 ~^ <b> [z] {"


def test_area_counts_every_image_whatever_its_attacked_rows_say_of_the_clean_one(rows):
    """A protocol that draws prompts anew may score the clean image otherwise in another call."""
    kvasir = rows[rows["dataset"] == "kvasir"].copy()
    whole = curve_area(checked(kvasir))
    last = kvasir["epsilon"] == kvasir["epsilon"].max()
    kvasir.loc[last, "dsc_clean"] -= 1e-3
    pd.testing.assert_frame_equal(curve_area(checked(kvasir)), whole)


def test_without_an_area_there_is_no_table_of_it(rows, tmp_path):
    """Each radius was tried on other images: no curve is known of any."""
    kvasir = rows[(rows["dataset"] == "kvasir") & rows["attack"].isin(["clean", "pgd"])]
    attacked = kvasir["attack"] != "clean"
    first = kvasir["key"].isin(sorted(kvasir["key"].unique())[:10])
    apart = kvasir[~attacked | (first == (kvasir["epsilon"] > 5 / 255))]
    assert "curve-area" not in write(apart, tmp_path)


def test_a_gain_is_told_under_one_protocol_only(kvasir):
    rows, other = checked(kvasir), checked(kvasir.assign(protocol="paper"))
    with pytest.raises(ValueError, match=r"protocol of the rows \(sound\), got one under paper"):
        gains(rows, other)


def test_latex_escapes_every_special():
    escaped = escape_latex(HOSTILE)
    bare = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]|\{\[\}", "", escaped)
    assert not set(bare) & set("\\&%$#_{}~^<>[")


def test_latex_gets_nothing_that_it_has_no_letter_for():
    """pdfLaTeX stops at a Cyrillic letter; T1 has no omega and OT1 no thorn."""
    escaped = escape_latex("p\u043elyp, größe, Łódź, naïve, ω, þ, 胃, \u200b, \x07")
    assert escaped.isascii()
    assert escaped.startswith(r"p\texttt{U+043E}lyp, gr{\"o}{\ss}e, {\L}{\'o}d{\'z}, na{\"i}ve")
    assert escaped.endswith(r"\texttt{U+80C3}, \texttt{U+200B}, \texttt{U+0007}")


def test_markdown_cells_cannot_break_the_table_or_link():
    escaped = escape_markdown("a|b\n<script> [x](javascript:1)")
    assert escaped == r"a\|b \<script\> [x\](javascript:1)"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
@pytest.mark.slow
def test_latex_compiles_with_hostile_names(kvasir, tmp_path):
    kvasir["dataset"] = HOSTILE
    names = list(write(kvasir, tmp_path))
    body = "\n".join(rf"\input{{{name}}}\clearpage" for name in names)
    (tmp_path / "all.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx,longtable}"
        rf"\begin{{document}}{body}\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")


def test_tally_counts_the_card():
    card = [sanity.Check(1, "pass", "", ""), sanity.Check(3, "fail", "", "")]
    assert tally(card) == "1 pass, 1 fail"
