"""The CLIPSeg family: network, tokenizer, adapters, checkpoints."""
