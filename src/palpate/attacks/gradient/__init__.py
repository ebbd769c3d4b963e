"""Attacks within a fixed epsilon that follow the gradient, and their random-noise control."""
