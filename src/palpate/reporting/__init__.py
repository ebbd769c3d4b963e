"""Reports: tables, figures and an HTML page, made from rows without a model."""

from palpate.reporting.report import report

__all__ = ["report"]
