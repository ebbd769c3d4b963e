"""Several runs: compared, swept over settings, or attacked with the examples of each other."""
