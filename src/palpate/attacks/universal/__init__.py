"""One perturbation for all images: fitting it, keeping it, adding it."""

from palpate.attacks.universal.adding import universal
from palpate.attacks.universal.fitting import Pressed, fit_universal
from palpate.attacks.universal.perturbation import UniversalPerturbation

__all__ = ["Pressed", "UniversalPerturbation", "fit_universal", "universal"]
