"""Universal perturbations: fit one perturbation for all images, save it, add it to images."""

from palpate.attacks.universals.adding import universal
from palpate.attacks.universals.fitting import FitBatch, fit_universal
from palpate.attacks.universals.perturbation import UniversalPerturbation

__all__ = ["FitBatch", "UniversalPerturbation", "fit_universal", "universal"]
