"""The PDF: a sheet of two pages, and the page as annex."""

import re
import shutil
import subprocess
import sys
from contextlib import closing
from html import unescape

import numpy as np
import pypdfium2
import pytest

from palpate.reporting import report
from palpate.reporting.acceptance.criteria import read_criteria
from palpate.reporting.acceptance.judge import judge
from palpate.reporting.pdf import document

from .conftest import make_examples, make_rows

weasyprint = pytest.importorskip("weasyprint", exc_type=OSError)  # where Pango is missing
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ABOUT = {
    "Model": "a-net", "Adapter": "dense-vl", "Training": "3 epochs", "Data": "kvasir, test split",
    "Date": "2026-01-02T03:04:05Z", "palpate": "0.1.0, commit abc", "Machine": "one of ours",
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The report of a small data set; its charts stand in pairs, as those of most runs."""
    folder = tmp_path_factory.mktemp("run")
    rows = make_rows({"kvasir": (("polyp",), 12, 0.86)}, attacks=("noise", "pgd"), steps=(4, 8))
    criteria = [
        {"metric": "dsc", "condition": "clean", "at_least": 0.5},
        {"metric": "dsc", "condition": "pgd 4/255", "at_least": 0.9},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["palpate.reporting.report"], "write_charts", lambda *_: None)
        patch.setattr(sys.modules["palpate.reporting.report"], "write_panels", lambda *_: None)
        report(
            rows,
            folder,
            examples=make_examples(rows, count=1),
            verdict=judge(rows, read_criteria(criteria, "file")),
            about=ABOUT,
            rerun="palpate rerun runs/x",
            pdf=True,
        )
    return folder


def text_of(page):
    return " ".join(page.get_textpage().get_text_bounded().split())


def test_the_sheet_has_two_pages_that_answer_the_questions(out):
    with closing(pypdfium2.PdfDocument(out / "report" / "report.pdf")) as pdf:
        first, second, annex = (text_of(pdf[index]) for index in range(3))
    for heading in ("Verdict", "What was tested", "On what", "How"):
        assert heading in first
    for heading in ("Results", "Subgroups", "Limitations", "How to rerun", "palpate rerun runs/x"):
        assert heading in second
    for fact in ABOUT.values():
        assert fact in f"{first} {second}"
    assert "Acceptance: not met" in first
    assert "page 2 of the sheet" in second
    assert "annex, page 1" in annex
    assert "Acceptance: not met" in annex


def test_the_annex_is_the_whole_page(out):
    with closing(pypdfium2.PdfDocument(out / "report" / "report.pdf")) as pdf:
        words = " ".join(text_of(page) for page in pdf)
    for part in ("Interpretation", "Failure modes", "Every image", "How to read this page"):
        assert part in words
    assert "kvasir_0000.png" in words


def test_a_missing_package_is_named(monkeypatch):
    def missing(name, *arguments, **named):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(document, "import_module", missing)
    with pytest.raises(RuntimeError, match=r"needs the package weasyprint \(No module"):
        document.require_weasyprint()


def test_a_missing_library_is_named(monkeypatch):
    def missing(name):
        raise OSError("cannot load library 'libpango-1.0-0'\nAdditionally, ...")

    monkeypatch.setattr(document, "import_module", missing)
    with pytest.raises(RuntimeError, match=r"needs Pango, .*libpango-1.0-0'\). Install it"):
        document.require_weasyprint()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which prints the page")
@pytest.mark.parametrize("paper", ["A4", "letter"])
def test_no_chart_covers_its_caption_in_print(out, paper, tmp_path):
    page = (out / "report" / "index.html").read_text()
    (tmp_path / "page.html").write_text(page.replace("</style>", f"@page{{size:{paper}}}</style>"))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={tmp_path / 'page.pdf'}",
        (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    words = [unescape(title) for title in re.findall(r'class="chart">\s*<h3>(.*?)</h3>', page)]
    with closing(pypdfium2.PdfDocument(tmp_path / "page.pdf")) as pdf:
        found = [drawn_behind(page, [*words, "File: figures/"]) for page in pdf]
    assert sum(map(len, found)) >= 2 * len(words) >= 8
    assert max(share for shares in found for share in shares) < 0.02  # lines of tables


def drawn_behind(page, words):
    """For each line with some of the words, the share of it that is not white without text."""
    textpage, places = page.get_textpage(), []
    for search in map(textpage.search, words):
        while match := search.get_next():
            places += [textpage.get_rect(i) for i in range(textpage.count_rects(*match))][:1]
    for thing in list(page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_TEXT], max_depth=1)):
        page.remove_obj(thing)
    page.gen_content()
    pixels = np.asarray(page.render(scale=2, grayscale=True).to_pil())
    height = page.get_height()
    shares = []
    for _, bottom, _, top in places:
        rows = slice(int(2 * (height - top - 2)), int(2 * (height - bottom + 2)))
        shares.append(float((pixels[rows] < 250).mean()))
    return shares
