"""Attacks on the text as conditions of an evaluation."""
