"""Figures of the report: charts and image panels."""
