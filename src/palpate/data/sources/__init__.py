"""Where samples come from: named data sets, pairs of folders, arrays, Hugging Face."""
