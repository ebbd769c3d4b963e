"""Gradient attacks within a ball of fixed radius, and random noise as their control."""
