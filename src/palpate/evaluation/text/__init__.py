"""Evaluation of attacks on the prompt."""
