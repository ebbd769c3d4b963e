"""Writes the report as PDF with WeasyPrint; no browser is needed."""

import logging
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd

from palpate.atomic import replacing
from palpate.reporting.html.page import Content
from palpate.reporting.pdf.annex import with_drawn_styles
from palpate.reporting.pdf.sheet import render_sheet, templates

PDF = "report.pdf"


def write_pdf(content: Content, sizes: pd.DataFrame, rerun: str, page: Path) -> Path:
    """Write the sheet and, as annex, the page, to ``report.pdf`` beside the page.

    Args:
        content: Content of the page.
        sizes: DSC by mask size; see :func:`palpate.reporting.numbers.summary.by_size`.
        rerun: Command that repeats the run, or empty.
        page: The page, already written.

    Returns:
        Path of the PDF.

    Raises:
        RuntimeError: If WeasyPrint or a library that it needs is missing.
    """
    weasyprint = require_weasyprint()
    logging.getLogger("weasyprint").setLevel(logging.ERROR)  # properties that only screens need
    sheet = weasyprint.HTML(string=render_sheet(content, sizes, rerun)).render()
    style = templates().get_template("annex.css").render()
    text = with_drawn_styles(page.read_text(encoding="utf-8"))
    annex = weasyprint.HTML(string=text).render(stylesheets=[weasyprint.CSS(string=style)])
    path = page.with_name(PDF)
    with replacing(path) as temporary:
        sheet.copy([*sheet.pages, *annex.pages]).write_pdf(str(temporary))
    return path


def require_weasyprint() -> ModuleType:
    """Import WeasyPrint.

    Raises:
        RuntimeError: If it, or a library that it needs, is missing.
    """
    try:
        return import_module("weasyprint")
    except ImportError as error:
        raise RuntimeError(
            f"A PDF needs the package weasyprint ({error}). Install it (pip install weasyprint), "
            "or print the page report/index.html from a browser."
        ) from error
    except OSError as error:
        raise RuntimeError(
            f"A PDF needs Pango, which WeasyPrint did not find ({str(error).splitlines()[0]}). "
            "Install it (on Debian and Ubuntu: apt install libpango-1.0-0 libpangoft2-1.0-0), or "
            "print the page report/index.html from a browser."
        ) from error
