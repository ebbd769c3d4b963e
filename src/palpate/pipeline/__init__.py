"""Whole runs: from a recipe to a run folder with rows, tables, figures and a page."""
