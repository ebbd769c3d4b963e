"""Rows become tables, figures and one page; no model is needed."""
