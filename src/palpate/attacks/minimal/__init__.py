"""Attacks that look for the smallest perturbation that breaks an image."""
