"""Metrics: one value per image."""
