"""The CLIP towers and tokenizers that CLIPSeg and CRIS are built on."""
