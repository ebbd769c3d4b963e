"""The settings of a run, and how a recipe is read into them and written out."""
