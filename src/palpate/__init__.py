"""Evaluate the robustness of medical image segmentation models to attacks on image and prompt.

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
    from palpate import attacks, data, models
    from palpate.data import load_data, load_pairs
    from palpate.evaluation import evaluate, metrics, predict
    from palpate.models import load_model, wrap
    from palpate.reporting import report
    from palpate.reporting.attacks import compare

    __version__: str

__all__ = [
    "__version__",
    "attacks",
    "compare",
    "data",
    "evaluate",
    "load_data",
    "load_model",
    "load_pairs",
    "metrics",
    "models",
    "predict",
    "report",
    "wrap",
]

_MODULES = {
    "attacks": "palpate.attacks",
    "data": "palpate.data",
    "metrics": "palpate.evaluation.metrics",
    "models": "palpate.models",
}
_FUNCTIONS = {
    "load_data": "palpate.data",
    "load_pairs": "palpate.data",
    "load_model": "palpate.models",
    "wrap": "palpate.models",
    "evaluate": "palpate.evaluation",
    "predict": "palpate.evaluation",
    "compare": "palpate.reporting.attacks",
    "report": "palpate.reporting",
}


def __getattr__(name: str) -> Any:
    # Everything is imported on first use, so that `import palpate` and the command line do not
    # wait for torch.
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    if name == "__version__":
        return import_module("palpate.version").release()
    from palpate.errors import did_you_mean

    raise AttributeError(
        f"module 'palpate' has no attribute {name!r}.{did_you_mean(name, __all__)}"
    )


def __dir__() -> list[str]:
    return sorted(__all__)
