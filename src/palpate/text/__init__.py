"""Vocabulary shared by prompts and text attacks: the lexicon, and positions in the image."""
