"""The folder of a run: its files, its lock, and copies of all that the run was made of."""
