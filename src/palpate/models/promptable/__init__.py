"""Networks of Hugging Face that are asked for a mask with a box or a text."""
