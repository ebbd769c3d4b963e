"""Weight files: safetensors, and checkpoints of other projects, read without running code."""
