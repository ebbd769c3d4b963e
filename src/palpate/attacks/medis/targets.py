"""What an attacker may want to see instead of the truth: masks to aim at, one per image."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from palpate.types import Masks, Randomness

TargetName: TypeAlias = Literal["random", "nearest", "white", "black"]

TARGETS: tuple[TargetName, ...] = ("random", "nearest", "white", "black")
"""Targets by name, in the order of the published tables of MedIS."""

Bank: TypeAlias = Bool[Tensor, "n 1 y x"]

_DECIMALS = 3  # of the mIoU by which the notebooks of MedIS look for the nearest mask
_PORTION = 64  # masks that are held as numbers at once


def aim_at(
    target: TargetName | Tensor,
    masks: Masks,
    *,
    bank: Bank | None = None,
    generator: Randomness = None,
) -> Masks:
    """The mask to aim at, for each image.

    Args:
        target: ``"white"`` (all foreground), ``"black"`` (all background), ``"random"`` (some
            other mask of the bank), ``"nearest"`` (the other mask of the bank with the highest
            mean IoU), or a mask: one for all images, or one for each.
        masks: Ground truth. Masks of the bank that are equal to it are not *other* masks.
        bank: Masks to choose from, of the size of the images.
        generator: Of the random choice; on the CPU, one for the batch or one per image.

    Returns:
        Masks of the shape of ``masks``, sharing no memory with it.

    Raises:
        ValueError: If the target has no such name or has another size, or the bank is missing,
            of another size, or holds no mask but that of the image.
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
        chosen = scores.max(dim=1).indices  # of equals the first
    else:
        chosen = _draw(others, generator).to(masks.device)
    return bank.to(masks.device)[chosen]


def check_bank(bank: Bank | None, masks: Masks, target: str) -> Bank:
    """The bank, if masks can be chosen from it for these images.

    Raises:
        ValueError: If there is none, or its masks are no masks or have another size.
    """
    if bank is None:
        raise ValueError(
            f"Target {target!r} is chosen from a bank of masks, got none; bind one: "
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
    """Mean IoU of each mask with each mask of the bank, to three decimals.

    Of foreground and background; a class that neither mask has is left out. The rounding is that
    of MedIS, whose targets these are: masks that differ by less are equally near.
    """
    bank = bank.to(masks.device)
    parts = (bank[first : first + _PORTION] for first in range(0, len(bank), _PORTION))
    return torch.cat([_overlaps(masks.flatten(1), part.flatten(1)) for part in parts], dim=1)


def _overlaps(masks: Bool[Tensor, "b p"], bank: Bool[Tensor, "n p"]) -> Float64[Tensor, "b n"]:
    ours, theirs = masks.double(), bank.double()
    both = ours @ theirs.T  # pixels are counted exactly
    either = ours.sum(1)[:, None] + theirs.sum(1)[None] - both
    pixels = masks.shape[1]
    pairs = [(both, either), (pixels - either, pixels - both)]
    ious = torch.stack([part / whole for part, whole in pairs])  # 0 / 0 where a class is absent
    mean: Tensor = ious.nanmean(dim=0)
    return mean.round(decimals=_DECIMALS)


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
    """Which masks of the bank are not the image's own."""
    flat = bank.to(masks.device).flatten(1)
    others = torch.stack([(flat != own).any(1) for own in masks.flatten(1)])
    lonely = (~others.any(1)).nonzero().flatten().tolist()
    if lonely:
        raise ValueError(
            f"Expected a bank with masks other than the images' own, got {len(bank)} that are "
            f"all equal to the mask of images {lonely} of the batch; give more masks."
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
