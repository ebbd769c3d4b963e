"""Minimal-norm attacks: the smallest perturbation that reaches a given Dice score."""
