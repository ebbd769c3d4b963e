"""Rows become tables, figures and one page; no model is needed."""

from palpate.reporting.report import report

__all__ = ["report"]
