"""Weight files: safetensors, and foreign checkpoints read without running their code."""
