"""Acceptance criteria and the verdict on a run by them."""
