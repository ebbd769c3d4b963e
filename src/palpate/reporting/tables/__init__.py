"""Tables of the report, as CSV, Markdown and LaTeX."""
