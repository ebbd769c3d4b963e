"""Whole runs: recipes, run folders, and what a person sees meanwhile."""

from palpate.pipeline.watch import watching

__all__ = ["watching"]
