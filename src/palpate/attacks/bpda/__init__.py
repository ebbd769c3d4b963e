"""Gradients through preprocessing that is not differentiable (BPDA) or random (EOT)."""
