"""A foreign network that must be the same one after it was asked."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def unchanged(net: nn.Module, name: str) -> Iterator[None]:
    """Refuse a network that changes its mode or makes layers while it is asked.

    It is put back as it was, or else the next call would find nothing to refuse.

    Args:
        net: Is asked within.
        name: For the message.

    Raises:
        RuntimeError: If it changed.
    """
    before = [
        (where, part, part.training, dict(part.named_children()))
        for where, part in net.named_modules()
    ]
    try:
        yield
    finally:
        flipped = [where or "itself" for where, part, mode, _ in before if part.training != mode]
        made = [
            f"{where}.{key}".lstrip(".")
            for where, part, _, children in before
            for key, child in part.named_children()
            if children.get(key) is not child and _has_state(child)
        ]
        for _, part, mode, children in before:
            part.training = mode
            if made:
                _put_back(part, children)
    if flipped:
        raise RuntimeError(
            f"Expected {name} to stay in its mode during a forward pass, got modules that went "
            f"from evaluation to training or back: {', '.join(flipped[:10])}. Whoever attacks it "
            "would meet another model at every step."
        )
    if made:
        raise RuntimeError(
            f"Expected {name} to have all its layers before it is asked, got new ones from a "
            f"forward pass: {', '.join(made[:10])}. Their weights would be in no optimiser and no "
            "checkpoint; make them in __init__, or call the network once before it is wrapped."
        )


def _has_state(part: nn.Module) -> bool:
    """Whether there is anything in it that could be trained or saved."""
    return any(True for _ in part.parameters()) or any(True for _ in part.buffers())


def _put_back(part: nn.Module, children: dict[str, nn.Module]) -> None:
    for key in [key for key, _ in part.named_children() if key not in children]:
        delattr(part, key)
    for key, child in children.items():
        setattr(part, key, child)
