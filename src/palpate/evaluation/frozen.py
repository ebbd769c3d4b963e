"""Freezing a model for evaluation, and reading the model attributes that evaluation needs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def frozen(model: object) -> Iterator[None]:
    """Put a module into evaluation mode without parameter gradients; restore both afterwards.

    Attacks need the gradient with respect to the pixels only; gradients of parameters would cost
    time and memory. A model that is not an ``nn.Module`` is not changed.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    parameters = list(model.parameters()) if isinstance(model, nn.Module) else []
    training = [module.training for module in modules]
    learning = [parameter.requires_grad for parameter in parameters]
    try:
        for module in modules:
            module.training = False
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, was_training in zip(modules, training, strict=True):
            module.training = was_training
        for parameter, was_learning in zip(parameters, learning, strict=True):
            parameter.requires_grad_(was_learning)


def threshold_of(model: object) -> float:
    """Logit above which a pixel is foreground: the model's ``threshold_logit``, or 0."""
    return float(getattr(model, "threshold_logit", 0.0))


def std_of(model: object) -> tuple[float, ...] | None:
    """Standard deviations by which the model divides the channels, from ``std``; None without."""
    std = getattr(model, "std", None)
    return tuple(std.flatten().tolist()) if isinstance(std, torch.Tensor) else None


def device_of(model: object) -> torch.device:
    """Device of the first parameter; the CPU for a model without parameters."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
