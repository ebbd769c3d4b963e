"""Check 13 of the sanity card: random and non-differentiable stages are declared.

A model, a submodule or a wrapper around a model declares such stages with attributes:

- ``is_random = True``: the same image may get different outputs, and attacks must average over
  them;
- ``is_differentiable = False``: some stage has no gradient, or only a substitute for it.

A declaration of a module also holds for its submodules. Without one, the declarations of its
submodules are combined.
"""

from collections.abc import Iterator

import torch
from torch import nn

from palpate.attacks import LOSSES
from palpate.evaluation.sanity.check import Check, Status, conclude
from palpate.evaluation.sanity.gradients import count_without
from palpate.evaluation.sanity.subject import Subject

NOTICEABLE = 1e-3  # in logits; smaller differences come from GPU kernels, not from randomness


def declares_its_stages(subject: Subject) -> Check:
    """Check 13: every stage that behaves randomly or has no gradient is declared."""
    is_random, is_differentiable = _declarations(subject.scorer.model)
    gap, (dead, images) = subject.largest_gap, _without_gradient(subject)
    # A stage without a gradient needs an explicit False: a missing declaration conceals it.
    concealed = (gap > NOTICEABLE and not is_random) or (
        dead > 0 and is_differentiable is not False
    )
    unseen = bool(is_random) and gap <= NOTICEABLE
    status: Status = "fail" if concealed else "warn" if unseen else "pass"
    return conclude(
        13,
        status,
        f"Logits of the same images differ by up to {gap:.3g}, {dead} of {images} images have no "
        f"gradient; declared: {declarations(subject.scorer.model)}.",
        good="No undeclared randomness and no undeclared stage without gradient was found. "
        "Declared stages need attacks made for them.",
        doubtful="The model is declared random, but its outputs were all the same: check whether "
        "its randomness is switched off, or fixed by a seed that attacks know too.",
        bad="The model has a random stage or one without gradient that is not declared: set "
        "is_random or is_differentiable on it, and attack it with EOT (an average over its "
        "randomness) or BPDA (a substitute for its gradient).",
    )


def declarations(model: object) -> str:
    """Describe the declarations of a model in one line of text."""
    is_random, is_differentiable = _declarations(model)
    return f"is_random {_said(is_random)}, is_differentiable {_said(is_differentiable)}"


def declared(model: object, name: str, *, prevailing: bool) -> bool | None:
    """Return what a model or its parts declare; None if nothing is declared.

    Args:
        model: A module, a function, or a wrapper that holds one of these as ``model`` or ``func``.
        name: Name of the boolean attribute.
        prevailing: Result if the parts contradict each other.
    """
    own = getattr(model, name, None)
    if isinstance(own, bool):
        return own
    said = {declared(part, name, prevailing=prevailing) for part in _parts(model)} - {None}
    return None if not said else prevailing if prevailing in said else not prevailing


def _declarations(model: object) -> tuple[bool | None, bool | None]:
    return (
        declared(model, "is_random", prevailing=True),
        declared(model, "is_differentiable", prevailing=False),
    )


def _parts(model: object) -> Iterator[object]:
    if isinstance(model, nn.Module):
        yield from model.children()
    else:
        yield from (getattr(model, name) for name in ("model", "func") if hasattr(model, name))


def _without_gradient(subject: Subject) -> tuple[int, int]:
    """Number of images without a gradient, and number of all images."""
    images = sum(len(batch.cases) for batch in subject.batches)
    try:
        # With the margin loss: a saturated sigmoid in the loss must not count against the model.
        return count_without(subject, LOSSES["margin"]), images
    except torch.cuda.OutOfMemoryError:
        raise  # also a RuntimeError, but it says nothing about the model
    except RuntimeError:
        return images, images


def _said(value: bool | None) -> str:
    return "not stated" if value is None else str(value)
