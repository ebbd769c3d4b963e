import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image

from palpate.reporting.figures import charts, drawing
from palpate.reporting.figures.figures import (
    charts_of,
    inline,
    legend_of,
    write_charts,
    write_panels,
)
from palpate.reporting.figures.strips import magnification, magnified, outline, strips
from palpate.reporting.numbers.checked_rows import checked
from palpate.reporting.numbers.focus import Focus, choose_focus
from palpate.reporting.numbers.summary import scores, summarise


@pytest.fixture(scope="module")
def made(all_rows):
    rows = checked(all_rows)
    summary = summarise(rows)
    return list(charts_of(rows, summary, choose_focus(summary.scores)))


def is_blank(path):
    pixels = np.asarray(Image.open(path).convert("L"))
    return pixels.std() < 5


@pytest.mark.parametrize("count", [1, pytest.param(None, marks=pytest.mark.slow)])
def test_charts_are_written_in_three_formats_and_not_blank(count, made, tmp_path):
    assert {c.name for c in made} >= {"dsc-over-epsilon", "outcomes", "damage-over-cost"}
    write_charts(made[:count], tmp_path)
    for chart in made[:count]:
        assert not is_blank(tmp_path / f"{chart.name}.png")
        assert (tmp_path / f"{chart.name}.pdf").read_bytes().startswith(b"%PDF")
        ElementTree.parse(tmp_path / f"{chart.name}.svg")


def test_the_same_rows_give_the_same_picture(made):
    assert inline(made[0]) == inline(made[0])


def drawn(draw, frame):
    with drawing.house_style():
        figure = drawing.single(draw, frame)
    return figure.axes[0]


def test_curves_start_at_the_clean_score_and_go_through_the_means(made):
    frame = next(c.frame for c in made if c.name == "dsc-over-epsilon")
    part = frame[frame["facet"] == "kvasir"]
    axis = drawn(charts.score_over_epsilon, part)
    curves = [line for line in axis.get_lines() if len(line.get_xdata()) == 3]
    assert len(curves) == 3
    for line, attack in zip(curves, ("noise", "fgsm", "pgd"), strict=True):
        some = part[part["attack"].isin(["clean", attack])].sort_values("epsilon")
        assert np.allclose(np.array(line.get_data()), some[["epsilon", "dsc"]].T)


def test_outcomes_fill_the_whole_bar(made):
    chart = next(c for c in made if c.name == "outcomes")
    axis: Axes = drawn(chart.draw, chart.parts[0][1])
    widths = np.array([bar.get_width() for bar in axis.patches]).reshape(4, -1)
    assert np.allclose(widths.sum(axis=0), 1)
    assert [t.get_text() for t in axis.get_yticklabels()][-1] == "Clean"


def test_unequal_conditions_keep_their_own_labels(all_rows):
    some = (all_rows["dataset"] != "isic") | (all_rows["attack"] != "fgsm")
    rows = checked(all_rows[some])
    summary = summarise(rows)
    chart = next(
        c for c in charts_of(rows, summary, choose_focus(summary.scores)) if c.name == "outcomes"
    )
    with drawing.house_style():
        figure = drawing.multiples(chart.draw, chart.parts, share_y=chart.share_y)
    counts = [len(axis.get_yticklabels()) for axis in figure.axes if axis.get_visible()]
    assert counts == [7, 7, 5, 7]


@pytest.mark.parametrize("count", [2, pytest.param(None, marks=pytest.mark.slow)])
def test_inline_pictures_have_names_of_their_own_and_load_nothing(count, made):
    svgs = [svg for chart in made[:count] for svg in inline(chart).values()]
    names = [name for svg in svgs for name in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(names) == len(set(names))
    for svg in svgs:
        ElementTree.fromstring(svg)
        used = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
        assert used <= set(re.findall(r'\bid="([^"]+)"', svg))
        assert not re.search(r'href="(?!#|data:)', svg)
        assert "<!--" not in svg
        assert "var(--figure-ink)" in svg


def test_legend_of_the_page_tells_shapes_apart(made):
    signs = [sign for _, sign, _ in legend_of(made[0])]
    assert len(signs) == len(set(signs)) == 3


def test_focus_is_the_strongest_attack_at_the_radius_that_halves(all_rows):
    focus = choose_focus(scores(checked(all_rows)))
    assert focus == Focus("pgd", "linf", 4 / 255)


def pressed(rows, attack, step, dsc):
    """The rows of PGD at one radius, as those of another attack or radius."""
    some = rows[(rows["attack"] == "pgd") & (rows["epsilon"] == rows["epsilon"].max())]
    return some.assign(attack=attack, epsilon=step / 255, dsc=dsc)


def focus_of(*parts):
    return choose_focus(scores(checked(pd.concat(parts, ignore_index=True))))


def test_an_attack_that_meets_no_other_is_not_the_strongest(kvasir):
    clean = kvasir[kvasir["attack"] == "clean"]
    both = [pressed(kvasir, "pgd", 2, 0.3), pressed(kvasir, "sea", 2, 0.31)]
    weak = pressed(kvasir, "simba", 0.5, 0.86)
    assert focus_of(clean, *both, weak) == Focus("pgd", "linf", 2 / 255)
    assert focus_of(clean, both[1], weak) == Focus("sea", "linf", 2 / 255)  # none meets another


def test_second_of_many_is_stronger_than_last_of_two(kvasir):
    clean = kvasir[kvasir["attack"] == "clean"]
    many = [pressed(kvasir, f"a{i}", 8, 0.2 + 0.02 * i) for i in range(5)]
    two = [pressed(kvasir, "a0", 4, 0.5), pressed(kvasir, "weak", 4, 0.6)]
    least = [pressed(kvasir, "a0", 2, 0.7), pressed(kvasir, "a2", 2, 0.6)]
    shown = focus_of(clean, *many[2:], *two, *least)
    assert shown.attack == "a2"


def test_focus_is_no_condition_that_was_cut_short(kvasir):
    clean = kvasir[kvasir["attack"] == "clean"]
    cut = pressed(kvasir, "sea", 8, 0.05).iloc[:1]
    whole = [pressed(kvasir, "pgd", step, 0.3) for step in (4, 8)]
    assert focus_of(clean, *whole, cut) == Focus("pgd", "linf", 4 / 255)
    assert focus_of(clean, cut) == Focus("sea", "linf", 8 / 255)


def test_focus_of_noise_alone_is_noise_and_of_nothing_is_none(kvasir):
    quiet = checked(kvasir[kvasir["attack"].isin(["clean", "noise"])])
    assert choose_focus(scores(quiet)) == Focus("noise", "linf", 8 / 255)
    assert choose_focus(scores(quiet[quiet["attack"] == "clean"])) is None


def test_panels_show_what_was_stored(kvasir, make_examples, tmp_path):
    panels = strips(make_examples(kvasir), checked(kvasir))
    assert set(panels) == {("kvasir", a, "linf") for a in ("noise", "fgsm", "pgd")}
    write_panels({("kvasir", "pgd", "linf"): panels["kvasir", "pgd", "linf"]}, tmp_path)
    assert not is_blank(tmp_path / "panel-kvasir-pgd.png")


def test_strips_rise_with_epsilon_and_ignore_other_runs(kvasir, make_examples):
    rows = checked(kvasir)
    examples = make_examples(kvasir)[::-1]
    for some in strips(examples, rows).values():
        for strip in some:
            assert [e.row.epsilon for e in strip.attacked] == [4 / 255, 8 / 255]
            assert {e.row.key for e in strip.attacked} == {strip.clean.row.key}
    assert strips(examples, rows[rows["key"] != examples[-1].row.key]).keys()
    assert strips(examples, rows.assign(prompt="another run")) == {}


def test_magnified_change_is_the_change_times_the_factor(kvasir, make_examples):
    (strip, *_) = strips(make_examples(kvasir), checked(kvasir))["kvasir", "pgd", "linf"]
    factor = magnification([strip])
    assert factor == 15
    shown = magnified(strip, strip.attacked[0], factor)
    delta = strip.attacked[0].image - strip.clean.image
    assert np.allclose(shown, 0.5 + 15 * delta, atol=1e-6)


def test_outline_encloses_the_mask_also_at_the_border():
    mask = np.zeros((6, 8), dtype=bool)
    mask[:3, 2:5] = True
    (line,) = outline(mask)
    assert (line[0] == line[-1]).all()
    x, y = line[:-1].T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(mask.sum(), abs=1)
    assert (x.min(), y.min()) == (2, 0)
    assert (x.max(), y.max()) == (5, 3)


def test_names_of_files_are_plain_and_different():
    names = [drawing.slug("panel", name) for name in ("a/b", "a b", "../a b", "ä", "x" * 300)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]{1,70}", name) for name in names)


def test_at_a_single_radius_attacks_are_listed_from_the_strongest_up(all_rows):
    clean_or_8 = (all_rows["attack"] == "clean") | np.isclose(all_rows["epsilon"], 8 / 255)
    rows = checked(all_rows[clean_or_8])
    summary = summarise(rows)
    chart = next(iter(charts_of(rows, summary, choose_focus(summary.scores))))
    assert (chart.name, chart.title) == ("dsc-by-attack", "DSC at 8/255")
    part = chart.parts[0][1]
    axis = drawn(chart.draw, part)
    points = [line for line in axis.get_lines() if line.get_marker() not in ("None", "")]
    shown = sorted(part.loc[part["attack"] != "clean", "dsc"])
    assert [float(point.get_xdata()[0]) for point in points] == pytest.approx(shown)
    assert len(axis.get_yticklabels()) == len(shown)
