"""Promptable networks from transformers: the SAM family, and Grounding DINO with a SAM."""
