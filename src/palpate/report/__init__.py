"""Rows become tables, figures and one page; no model is needed."""

from palpate.report.report import report

__all__ = ["report"]
