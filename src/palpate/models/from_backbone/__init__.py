"""Initial weights for a CLIPSeg from other models: DINOv2, or a larger teacher."""
