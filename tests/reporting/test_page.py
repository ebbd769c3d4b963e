"""The page as a browser would read it."""

import json
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from palpate.evaluation.sanity import Check
from palpate.reporting import report

EXTERNAL = re.compile(r"""(?:src|href|action|url\()\s*=?\s*["']?\s*(?:https?:)?//""", re.I)
WHOLE = sys.modules["palpate.reporting.report"]  # the name itself is that of the function
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Reader(HTMLParser):
    """Collects tags, text and ids, and complains about tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.words, self.open = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids.extend(value for name, value in attributes if name == "id")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids.extend(value for name, value in attributes if name == "id")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(all_rows, make_examples, png_figures, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    kvasir = all_rows[all_rows["dataset"].isin(["kvasir", "isic"])]
    card = [
        Check(2, "pass", "0 of 80 images outside.", "Measured again."),
        Check(5, "warn", "Noise does 60 % of the damage.", "Look at the control."),
        Check(12, "fail", "A buffer changed.", "The rows are of another model."),
        Check(14, "not_run", "Nothing was stored.", "Nobody looked."),
    ]
    path = report(
        kvasir,
        out,
        examples=make_examples(kvasir),
        sanity=card,
        config={"attacks": {"pgd": {"steps": 40}}},
        environment={"command": "palpate run --config recipes/x.yaml", "weights": "abc123"},
        notes={"kvasir": "CC BY 4.0"},
        title="A run",
    )
    assert path == out / "report" / "index.html"
    return path


@pytest.fixture(scope="module")
def html(page):
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reader(html):
    return Reader(html)


def test_leaves_tables_figures_and_page(page):
    run = page.parent.parent
    assert (run / "tables" / "main.csv").exists()
    assert (run / "figures" / "dsc-over-epsilon.png").exists()
    assert (run / "figures" / "panel-kvasir-pgd.png").exists()


def test_is_one_file_that_loads_nothing(html, reader):
    assert not EXTERNAL.search(html)
    assert not reader.all("link") + reader.all("iframe") + reader.all("object")
    sources = [a.get("src") or a.get("href") for a in reader.all("img") + reader.all("image")]
    sources = [source for source in sources if source]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    (policy,) = [a["content"] for a in reader.all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def test_elements_have_unique_names_and_links_arrive(reader):
    assert len(reader.ids) == len(set(reader.ids))
    links = [a.get("href", a.get("xlink:href")) for a in reader.all("a") + reader.all("use")]
    links = [link for link in links if link.startswith("#")]
    assert {link[1:] for link in links} <= set(reader.ids)


def test_headings_do_not_skip_levels_and_images_have_alternatives(reader):
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all("alt" in a for a in reader.all("img"))


def test_headline_says_what_the_rows_say(page, reader):
    numbers = pd.read_csv(page.parent.parent / "tables" / "main.csv")
    at = numbers[np.isclose(numbers["epsilon"], 4 / 255)]
    worst, pgd, noise = (at[at["attack"] == a]["dsc"] for a in ("worst-case", "pgd", "noise"))
    clean = span(numbers[numbers["attack"] == "clean"]["dsc"])
    text = reader.text.replace("\u2060", "")
    assert f"At 4/255, the worst case over FGSM and PGD reduces DSC from {clean} to" in text
    assert f" to {span(worst)} across 2 data sets" in text
    assert f", PGD alone to {span(pgd)};" in text
    assert f"DSC under random noise of the same radius is {span(noise)}." in text


def span(values):
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low}–{high}"


def test_shows_card_configuration_environment_and_notes(reader):
    for words in (
        "12. The model was left as it was",
        "The rows are of another model.",
        "1 pass, 1 warn, 1 fail, 1 not run",
        "palpate run --config recipes/x.yaml",
        "weights: abc123",
        "steps: 40",
        "CC BY 4.0",
        "magnified 15 times",
    ):
        assert words in reader.text


def test_lists_every_image_the_largest_drop_first(html, all_rows):
    table = re.search(r'<table[^>]*id="every-image">.*?</table>', html, re.S).group()
    drops = [
        float(x) for x in re.findall(r'<td data-value="([-\d.e]+)">[−\d.]+</td><td class', table)
    ]
    some = all_rows[all_rows["dataset"].isin(["kvasir", "isic"]) & (all_rows["attack"] == "pgd")]
    some = some[np.isclose(some["epsilon"], 4 / 255)]
    assert np.allclose(drops, sorted(some["dsc_clean"] - some["dsc"], reverse=True))


HOSTILE = (
    "<script>alert('x')</script>\"' onload=\"x\" &amp; {{ 7 * 7 }} $x_1$ \\input ωπ 胃 "
    + "w" * 5000
)


@pytest.mark.filterwarnings("ignore:Glyph")  # a font that knows all letters is the reader's matter
def test_shows_hostile_names_as_text(make, make_examples, tmp_path):
    rows = make({HOSTILE: ((HOSTILE,), 3, 0.9)}, attacks=("noise", HOSTILE), steps=(8,))
    for column in ("prompt", "image_name", "group", "key", "prompt_level"):
        rows[column] = rows[column].astype(str) + HOSTILE
    path = report(
        rows, tmp_path, examples=make_examples(rows), title=HOSTILE, notes={HOSTILE: HOSTILE},
        config={HOSTILE: HOSTILE}, environment={"command": HOSTILE},
        sanity=[Check(2, "pass", HOSTILE, HOSTILE)],
    )  # fmt: skip
    html = path.read_text(encoding="utf-8")
    reader = Reader(html)
    assert len(reader.all("script")) == 1
    assert "alert('x')" not in html.replace("&lt;script&gt;alert(&#39;x&#39;)", "")
    assert "<script>alert('x')</script>" in reader.text
    assert "{{ 7 * 7 }}" in reader.text
    assert not [a for _, a in reader.tags if "onload" in a]
    assert not EXTERNAL.search(html)


@pytest.fixture
def kvasir(kvasir):
    """One radius: each condition takes its time."""
    return kvasir[kvasir["epsilon"].isin([0, 8 / 255])].reset_index(drop=True)


@pytest.fixture
def quick(monkeypatch):
    """Pages without charts, which other tests look at."""
    monkeypatch.setattr(WHOLE, "charts_of", lambda *_: iter(()))


def test_clean_rows_alone_make_a_page_that_says_so(kvasir, quick, tmp_path):
    clean = kvasir[kvasir["attack"] == "clean"]
    text = Reader(report(clean, tmp_path).read_text(encoding="utf-8")).text
    assert "No attack was run, so robustness was not measured." in text
    assert f"Clean DSC is {clean['dsc'].mean():.2f}" in text


def test_noise_alone_is_called_no_attack(kvasir, quick, tmp_path):
    quiet = kvasir[kvasir["attack"].isin(["clean", "noise"])]
    text = Reader(report(quiet, tmp_path).read_text(encoding="utf-8")).text
    assert "Only random noise was run, which is a control and not an attack." in text


def test_missing_control_is_said(kvasir, quick, tmp_path):
    loud = kvasir[kvasir["attack"] != "noise"]
    text = Reader(report(loud, tmp_path).read_text(encoding="utf-8")).text
    assert "There is no control" in text


def test_one_image_makes_a_page(make, png_figures, tmp_path):
    rows = make({"kvasir": (("polyp",), 1, 0.8)}, steps=(8,))
    text = Reader(report(rows, tmp_path).read_text(encoding="utf-8")).text
    assert "(n = 1, 95 % CI unknown)" in text


def test_significance_is_said_in_plain_words(make, kvasir, quick, tmp_path):
    few = make({"kvasir": (("polyp",), 5, 0.9)}, steps=(8,))
    text = Reader(report(few, tmp_path / "few").read_text(encoding="utf-8")).text
    assert "Too few images: with 5 independent ones, no difference can be" in text
    text = Reader(report(kvasir, tmp_path / "many").read_text(encoding="utf-8")).text
    assert "comparisons of PGD with the clean images and with noise " in text


@pytest.mark.parametrize(
    ("attacks", "said"),
    [
        (("pgd",), "comparisons of PGD with the clean images "),
        (("noise",), "comparisons of Random noise with the clean images "),
    ],
)
def test_significance_is_told_of_what_was_compared(attacks, said, make, quick, tmp_path):
    rows = make({"kvasir": (("polyp",), 20, 0.9)}, attacks=attacks, steps=(8,))
    text = Reader(report(rows, tmp_path).read_text(encoding="utf-8")).text
    assert said in text


def test_n_of_the_headline_is_that_of_its_interval(kvasir, quick, tmp_path):
    fgsm = (kvasir["attack"] == "fgsm") & (kvasir["epsilon"] > 0.03)
    cut = kvasir[~fgsm | (kvasir["key"] == kvasir["key"].iloc[0])]
    text = Reader(report(cut, tmp_path).read_text(encoding="utf-8")).text
    assert re.search(r"PGD reduces DSC from \S+ to \S+ on kvasir \(n = 20, 95", text)


def test_samples_images_and_groups_are_told_apart(make, quick, tmp_path):
    rows = make({"camus": (("left ventricle", "myocardium"), 6, 0.9)}, steps=(8,))
    text = Reader(report(rows, tmp_path).read_text(encoding="utf-8")).text
    assert "12 samples (image, mask and prompt) of 6 images, 3 patients or groups" in text


def test_a_run_cut_short_is_announced(kvasir, quick, tmp_path):
    last = (kvasir["attack"] == "pgd") & (kvasir["epsilon"] > 0.03)
    cut = kvasir[~last | (kvasir["key"] == kvasir["key"].iloc[0])]
    text = Reader(report(cut, tmp_path).read_text(encoding="utf-8")).text
    assert "The run is not complete." in text
    assert "kvasir, PGD at 8/255: 1 of 20 images" in text


def test_an_attack_that_does_nothing_is_not_called_damage(kvasir, quick, tmp_path):
    idle = kvasir.assign(dsc=kvasir["dsc_clean"], iou=kvasir["iou_clean"], failure="none")
    text = Reader(report(idle, tmp_path).read_text(encoding="utf-8")).text
    assert "The attack does not reduce DSC" in text
    assert "No prediction failed" in text


def test_broken_rows_write_nothing(kvasir, tmp_path):
    kvasir.loc[0, "dsc"] = np.nan
    with pytest.raises(ValueError, match="Expected dsc in"):
        report(kvasir, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rows_from_a_store_make_a_page(kvasir, quick, tmp_path):
    stored = kvasir.assign(norm=kvasir["norm"].where(kvasir["attack"] != "clean", "none"))
    stored.to_parquet(tmp_path / "rows.parquet")
    assert report(pd.read_parquet(tmp_path / "rows.parquet"), tmp_path).exists()


def test_page_stays_small(make, make_examples, quick, monkeypatch, tmp_path):
    monkeypatch.setattr(WHOLE, "write_panels", lambda *_: None)
    rows = make({"kvasir": (("polyp",), 100, 0.86)}, steps=(8,))
    examples = make_examples(rows, size=(224, 224), count=4)
    assert len(examples) == 4 * 4
    path = report(rows, tmp_path, examples=examples, config=json.loads("{}"))
    assert path.stat().st_size < 1_900_000
    assert path.read_text(encoding="utf-8").count('class="change"') == 4 * 3
