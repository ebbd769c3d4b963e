"""Black-box attacks, which use forward passes only: scores or decisions, no gradient."""
