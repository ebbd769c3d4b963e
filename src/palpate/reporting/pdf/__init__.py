"""The report as PDF: a sheet of two pages for auditors, and the page as annex."""
