"""Sources of samples: named data sets, pairs of folders, arrays and Hugging Face."""
