"""Reading image files: decoding, orientation, prefetching."""
