"""Attacks through stages that have no useful gradient or are random (BPDA and EOT)."""
