"""CLIP's image and text encoders and tokenizers, the basis of CLIPSeg and CRIS."""
