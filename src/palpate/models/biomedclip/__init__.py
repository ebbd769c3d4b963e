"""BiomedCLIP with a CLIPSeg decoder, converted from open_clip's checkpoint."""
