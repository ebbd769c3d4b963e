"""Press on medical image segmentation models and see where, how and how much they give way.

>>> import palpate as pp
>>> model = pp.load_model("CIDAS/clipseg-rd64-refined", adapter="dense-vl")  # doctest: +SKIP
>>> data = pp.load_data("kvasir", root="data", split="test", size=352)  # doctest: +SKIP
>>> pgd = partial(pp.attacks.pgd, epsilon=8 / 255, steps=40)  # doctest: +SKIP
>>> rows = pp.evaluate(model, data, attacks={"pgd": pgd})  # doctest: +SKIP
>>> pp.report(rows, "report")  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palpate import attacks
    from palpate.data import load_data, load_pairs
    from palpate.evaluation import evaluate, metrics
    from palpate.models import load_model, wrap
    from palpate.reporting import report

__all__ = [
    "attacks",
    "evaluate",
    "load_data",
    "load_model",
    "load_pairs",
    "metrics",
    "report",
    "wrap",
]

_MODULES = {"attacks": "palpate.attacks", "metrics": "palpate.evaluation.metrics"}
_HOME = {
    "load_data": "palpate.data",
    "load_pairs": "palpate.data",
    "load_model": "palpate.models",
    "wrap": "palpate.models",
    "evaluate": "palpate.evaluation",
    "report": "palpate.reporting",
}


def __getattr__(name: str) -> Any:
    # On first use: what reads a table need not wait for the libraries that train a model.
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'palpate' has no attribute {name!r}")
