"""Target masks of MedIS: the prediction that the attacker wants, one per image."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from palpate.overlap import Counts, miou
from palpate.types import Masks, Randomness

TargetName: TypeAlias = Literal["random", "nearest", "white", "black"]

TARGETS: tuple[TargetName, ...] = ("random", "nearest", "white", "black")
"""Targets by name, in the order of the published tables of MedIS."""

Bank: TypeAlias = Bool[Tensor, "n 1 y x"]

DECIMALS = 3  # the notebooks round the mIoU before any comparison
_PORTION = 64  # masks converted to double precision at once, to bound memory


def target_masks(
    target: TargetName | Tensor,
    masks: Masks,
    *,
    bank: Bank | None = None,
    generator: Randomness = None,
) -> Masks:
    """Choose the target mask of each image.

    Args:
        target: ``"white"`` (all foreground), ``"black"`` (all background), ``"random"`` (a random
            other mask of the bank), ``"nearest"`` (the other mask of the bank with the highest
            mean IoU), or bool masks: one for all images, or one for each.
        masks: Ground truth. Masks of the bank that equal an image's own mask are never chosen.
        bank: Masks to choose from, of the size of the images.
        generator: Draws the random mask; on the CPU, one for the batch or one per image.

    Returns:
        Masks of the shape of ``masks``, sharing no memory with it.

    Raises:
        ValueError: If the target is unknown or has the wrong size, or if the bank is missing, has
            the wrong size, or contains no mask other than the image's own.
    """
    if isinstance(target, Tensor):
        return _given(target, masks)
    if target in ("white", "black"):
        return torch.full_like(masks, target == "white")
    if target not in TARGETS:
        raise ValueError(f"Expected a mask or one of {', '.join(TARGETS)}, got {target!r}.")
    bank = check_bank(bank, masks, target)
    others = _others(masks, bank)
    if target == "nearest":
        scores = overlaps(masks, bank).masked_fill(~others, -1.0)
        chosen = scores.max(dim=1).indices  # the first of equal ones
    else:
        chosen = _draw(others, generator).to(masks.device)
    return bank.to(masks.device)[chosen]


def check_bank(bank: Bank | None, masks: Masks, target: str) -> Bank:
    """Return the bank if targets for these images can be chosen from it.

    Args:
        bank: Masks to choose from, or None.
        masks: Masks of the images, for their size.
        target: Name of the target, for the error message.

    Raises:
        ValueError: If there is no bank, or its masks have the wrong type or size.
    """
    if bank is None:
        raise ValueError(
            f"Expected a bank of masks to choose target {target!r} from, got none; bind one: "
            f"partial(medis, target={target!r}, bank=masks_of_the_data_set)."
        )
    expected = (1, *masks.shape[2:])
    if bank.dtype != torch.bool or bank.ndim != 4 or tuple(bank.shape[1:]) != expected:
        raise ValueError(
            f"Expected a bank of bool masks of shape (n, {', '.join(map(str, expected))}), the "
            f"size of the images, got {bank.dtype} of shape {tuple(bank.shape)}; load the data "
            "with size=..., so that all masks have one size."
        )
    return bank


def overlaps(masks: Masks, bank: Bank) -> Float64[Tensor, "b n"]:
    """Mean IoU of each mask with each mask of the bank, rounded to three decimals.

    The notebooks of MedIS round as well, so masks whose scores differ by less are equally near.

    Args:
        masks: Masks ``(b, 1, h, w)``.
        bank: Masks ``(n, 1, h, w)``.
    """
    bank = bank.to(masks.device)
    parts = (bank[first : first + _PORTION] for first in range(0, len(bank), _PORTION))
    return torch.cat([_overlaps(masks.flatten(1), part.flatten(1)) for part in parts], dim=1)


def _overlaps(masks: Bool[Tensor, "b p"], bank: Bool[Tensor, "n p"]) -> Float64[Tensor, "b n"]:
    # A matrix product counts the common pixels of all pairs at once, exactly in double precision.
    both = (masks.double() @ bank.double().T).long()
    fp, fn = bank.sum(1)[None] - both, masks.sum(1)[:, None] - both
    counts = (both, fp, fn, masks.shape[1] - both - fp - fn)
    scores = miou(Counts(*(each.flatten() for each in counts)), torch.float64)
    return scores.view_as(both).round(decimals=DECIMALS)


def _given(target: Tensor, masks: Masks) -> Masks:
    size = tuple(masks.shape[1:])
    fits = target.ndim == 4 and tuple(target.shape[1:]) == size
    if target.dtype != torch.bool or not fits or len(target) not in (1, len(masks)):
        raise ValueError(
            f"Expected a target of bool masks of shape {(1, *size)} or {tuple(masks.shape)}, got "
            f"{target.dtype} of shape {tuple(target.shape)}; a target has the size of its image."
        )
    return target.to(masks.device).expand_as(masks).clone()


def _others(masks: Masks, bank: Bank) -> Bool[Tensor, "b n"]:
    """Which masks of the bank differ from the image's own mask."""
    flat = bank.to(masks.device).flatten(1)
    others = torch.stack([(flat != own).any(1) for own in masks.flatten(1)])
    lonely = (~others.any(1)).nonzero().flatten().tolist()
    if lonely:
        raise ValueError(
            f"Expected a bank with masks other than the images' own, got {len(bank)} that are "
            f"all equal to the mask of images {lonely} of the batch; add masks to the bank."
        )
    return others


def _draw(others: Bool[Tensor, "b n"], generator: Randomness) -> Tensor:
    sources = generator if isinstance(generator, Sequence) else [generator] * len(others)
    if len(sources) != len(others):
        raise ValueError(f"Expected one generator per image ({len(others)}), got {len(sources)}.")
    chosen = []
    for allowed, source in zip(others.cpu(), sources, strict=True):
        places = allowed.nonzero().flatten()
        chosen.append(places[torch.randint(len(places), (), generator=source)])
    return torch.stack(chosen)
