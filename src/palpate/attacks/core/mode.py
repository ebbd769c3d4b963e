"""Warn of networks that are attacked in training mode."""

import warnings
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


class TrainingModeWarning(RuntimeWarning):
    """Warns of a network in training mode: an attack then sees another network at every call."""


def warn_of_training_mode(model: object) -> None:
    """Warn if layers that compute something else in training mode are in training mode.

    In training mode dropout is random, and batch normalisation mixes the images of a batch and
    changes its statistics at every call. A model that declares ``is_random = True`` is meant so.

    Args:
        model: A module, or a function or wrapper that holds one as ``model``, ``func`` or
            ``module``.
    """
    kinds = {type(part).__name__ for part in _trained(model)}
    if kinds:
        warnings.warn(
            f"The model is in training mode ({', '.join(sorted(kinds))}): its answers depend on "
            "chance or on the other images, and its statistics change with every call. Call "
            "model.eval() first.",
            TrainingModeWarning,
            stacklevel=4,
        )


def _trained(model: object) -> Iterator[nn.Module]:
    if getattr(model, "is_random", False):
        return
    if isinstance(model, nn.Module):
        for part in model.modules():
            random = isinstance(part, _DropoutNd) and part.p > 0
            if part.training and (random or isinstance(part, _BatchNorm)):
                yield part
        return
    for name in ("model", "func", "module"):
        inner = getattr(model, name, None)
        if inner is not None:
            yield from _trained(inner)
