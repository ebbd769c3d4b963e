"""BiomedCLIP with a CLIPSeg decoder, converted from the open_clip checkpoint."""
