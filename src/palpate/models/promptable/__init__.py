"""Promptable networks of Hugging Face: SAM in its versions, and Grounding DINO with a SAM."""
