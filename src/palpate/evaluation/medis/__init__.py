"""Evaluation of MedIS: one row per image, target and loss."""
