"""Threat models: which pixels a perturbation may change, and how."""

from palpate.attacks.threats.channels import Tied
from palpate.attacks.threats.constraint import Constraint
from palpate.attacks.threats.patterns import LowFrequency, Periodic
from palpate.attacks.threats.places import Border, Inside, Outside
from palpate.attacks.threats.reading import ANYWHERE, CONSTRAINTS, LATTICE, Within, threat_model
from palpate.attacks.threats.threat import Threat

__all__ = [
    "ANYWHERE",
    "CONSTRAINTS",
    "LATTICE",
    "Border",
    "Constraint",
    "Inside",
    "LowFrequency",
    "Outside",
    "Periodic",
    "Threat",
    "Tied",
    "Within",
    "threat_model",
]
