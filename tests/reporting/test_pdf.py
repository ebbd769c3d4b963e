"""The PDF: a sheet of two pages, and the page as annex."""

import shutil
import subprocess
from contextlib import closing

import numpy as np
import pypdfium2
import pytest

from palpate.reporting import report
from palpate.reporting.acceptance.criteria import read_criteria
from palpate.reporting.acceptance.judge import judge
from palpate.reporting.pdf import document

weasyprint = pytest.importorskip("weasyprint", exc_type=OSError)  # where Pango is missing
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ABOUT = {
    "Model": "a-net", "Adapter": "dense-vl", "Training": "3 epochs", "Data": "kvasir, test split",
    "Date": "2026-01-02T03:04:05Z", "palpate": "0.1.0, commit abc", "Machine": "one of ours",
}  # fmt: skip


@pytest.fixture(scope="module")
def out(all_rows, make_examples, png_figures, tmp_path_factory):
    """A report of four facets with many criteria, so that the sheet is full."""
    folder = tmp_path_factory.mktemp("run")
    criteria = [
        {"metric": "dsc", "condition": "clean", "at_least": 0.5},
        {"metric": "dsc", "condition": "pgd 4/255", "at_least": 0.7},
        {"metric": "success", "condition": "pgd 8/255", "at_most": 0.1},
    ]
    verdict = judge(all_rows, read_criteria(criteria, "file"))
    report(
        all_rows,
        folder,
        examples=make_examples(all_rows, count=1),
        verdict=verdict,
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
    with closing(pypdfium2.PdfDocument(tmp_path / "page.pdf")) as pdf:
        found = [drawn_behind(page, "File: figures/") for page in pdf]
    assert sum(map(len, found)) >= 5
    assert not any(share for shares in found for share in shares)


def drawn_behind(page, words):
    """For each place of some words, the share of its area that is not white without the text."""
    textpage, places = page.get_textpage(), []
    search = textpage.search(words)
    while match := search.get_next():
        places += [textpage.get_rect(i) for i in range(textpage.count_rects(*match))][:1]
    for thing in list(page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_TEXT], max_depth=1)):
        page.remove_obj(thing)
    page.gen_content()
    pixels = np.asarray(page.render(scale=2, grayscale=True).to_pil())
    height = page.get_height()
    shares = []
    for left, bottom, right, top in places:
        rows = slice(int(2 * (height - top)), int(2 * (height - bottom)))
        shares.append(float((pixels[rows, int(2 * left) : int(2 * right)] < 250).mean()))
    return shares
