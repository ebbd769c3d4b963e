"""MedIS: several surrogate losses in parallel, fused per image (Shukla et al., 2023)."""
