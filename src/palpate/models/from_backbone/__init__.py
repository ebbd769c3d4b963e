"""Initial weights for a CLIPSeg where there are none: DINOv2, or a smaller student."""
