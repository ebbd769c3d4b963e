"""Batches that depend only on the data and the batch size.

Samples are taken in order, in windows of ``batch_size``, and each window is split by image size.
Windows do not depend on which rows exist: a resumed run stacks the same images as an uninterrupted
one, so that even rounding errors are the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

import torch

from palpate.data import Samples, stream
from palpate.data.sample import Batch, Case, Sample, collate

# The default everywhere: in Python, in recipes and on the command line.
BATCH_SIZE = 8


def list_cases(data: Samples) -> list[Case]:
    """List the cases of all samples, without decoding images if the data set has ``cases``.

    Raises:
        ValueError: If there are no samples, or two of them have the same key and prompt.
    """
    cases = getattr(data, "cases", None)
    if cases is None or len(cases) != len(data):
        cases = [data[index].case for index in range(len(data))]
    if not len(cases):
        raise ValueError("Expected samples to evaluate, got none. Check the split's name.")
    seen: set[tuple[str, ...]] = set()
    for case in cases:
        name = (case.dataset, case.split, case.key, case.prompt_level, case.prompt)
        if name in seen:
            raise ValueError(
                f"Two samples have the key {case.key!r} and the same prompt. Each "
                "sample needs a key of its own, or its rows cannot be paired."
            )
        seen.add(name)
    return list(cases)


def windows(count: int, batch_size: int) -> Iterator[range]:
    """Consecutive indices, ``batch_size`` at a time.

    >>> [list(window) for window in windows(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    if batch_size < 1:
        raise ValueError(f"Expected batch_size >= 1, got {batch_size}.")
    return (range(i, min(i + batch_size, count)) for i in range(0, count, batch_size))


def load(
    data: Samples,
    cases: Sequence[Case],
    windows: Sequence[Sequence[int]],
    device: torch.device,
    workers: int = 0,
) -> Iterator[Batch]:
    """Load the samples of each window, one batch per image size, in order.

    Args:
        data: The samples.
        cases: The cases of all samples.
        windows: Indices of the samples of each window.
        device: Device to move the batches to.
        workers: Threads that read ahead; see :func:`palpate.data.stream`.

    Yields:
        The batches; all images of a batch have the same size.

    Raises:
        ValueError: If a sample differs from its entry in ``cases``, its pixels are outside [0, 1]
            or in half precision, or its mask is not a bool mask of the size of the image.
    """
    ahead = max(map(len, windows), default=1)
    read = stream(data, chain.from_iterable(windows), workers, ahead)
    for window in windows:
        by_size: dict[tuple[int, ...], list[Sample]] = {}
        for index, sample in zip(window, islice(read, len(window)), strict=True):
            checked = _checked(sample, cases[index])
            by_size.setdefault(tuple(sample.image.shape), []).append(checked)
        yield from (_move(collate(samples), device) for samples in by_size.values())


def select(batch: Batch, positions: Sequence[int]) -> Batch:
    """Some samples of a batch, in the order given; the batch itself if all are chosen."""
    if len(positions) == len(batch.cases):
        return batch
    chosen = list(positions)
    cases = tuple(batch.cases[position] for position in chosen)
    boxes = None if batch.boxes is None else tuple(batch.boxes[position] for position in chosen)
    ignored = None if batch.ignored is None else batch.ignored[chosen]
    return Batch(cases, batch.images[chosen], batch.masks[chosen], boxes, ignored)


def _move(batch: Batch, device: torch.device) -> Batch:
    ignored = None if batch.ignored is None else batch.ignored.to(device)
    return replace(
        batch, images=batch.images.to(device), masks=batch.masks.to(device), ignored=ignored
    )


def _checked(sample: Sample, announced: Case) -> Sample:
    if sample.case != announced:
        raise ValueError(
            f"Expected sample {announced.key!r} as data.cases announces it, got {sample.case}. "
            "Fix the random choices of the data set with a seed."
        )
    image, mask = sample.image, sample.mask
    if image.is_floating_point() and image.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"Expected images of type float32, image {sample.case.key!r} is {image.dtype}, which "
            "cannot hold a perturbation of 1/255. Let the model cast, or choose precision='bf16'."
        )
    if mask.dtype != torch.bool or mask.shape != (1, *image.shape[1:]):
        raise ValueError(
            f"Expected a bool mask of shape {(1, *image.shape[1:])}, that of {sample.case.key!r} "
            f"is {mask.dtype} of shape {tuple(mask.shape)}. Resize and threshold it."
        )
    ignored = sample.ignored
    if ignored is not None and (ignored.dtype != torch.bool or ignored.shape != mask.shape):
        raise ValueError(
            f"Expected ignored pixels as a bool tensor of shape {tuple(mask.shape)}, those of "
            f"{sample.case.key!r} are {ignored.dtype} of shape {tuple(ignored.shape)}."
        )
    low, high = image.min().item(), image.max().item()
    if not (low >= 0 and high <= 1):  # negated, so that NaN is refused as well
        raise ValueError(
            f"Expected pixel values in [0, 1], image {sample.case.key!r} has values in "
            f"[{low:.3g}, {high:.3g}]. Normalisation belongs inside the model."
        )
    return sample
