"""Evaluation protocols: `sound`, and the published pipeline with each choice as a switch."""
