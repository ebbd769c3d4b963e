"""Integrity checks of data sets: files, masks, duplicates and leakage between splits."""

from palpate.data.integrity.check import Wanted, check_sets
from palpate.data.integrity.finding import CHECKS, Finding, Severity
from palpate.data.integrity.report import (
    IntegrityReport,
    Outcome,
    SetReport,
    SplitCounts,
)

__all__ = [
    "CHECKS",
    "Finding",
    "IntegrityReport",
    "Outcome",
    "SetReport",
    "Severity",
    "SplitCounts",
    "Wanted",
    "check_sets",
]
