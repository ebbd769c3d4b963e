"""Whole runs: recipes, run folders, and what a person sees meanwhile."""

from palpate.cli.progress_bars import watching

__all__ = ["watching"]
