"""Attacks that use forward passes only: scores or decisions, no gradient."""
