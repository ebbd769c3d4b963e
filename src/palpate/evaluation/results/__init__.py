"""Rows, the store that keeps them on disk, and what identifies them."""
