"""One run from start to end, of a recipe or of a finished model."""
