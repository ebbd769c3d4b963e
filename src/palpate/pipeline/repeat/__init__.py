"""A finished run again: repeated as a whole, or checked row by row."""
