"""Numbers of the report, computed from checked rows."""
