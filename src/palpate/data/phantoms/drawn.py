"""Data sets of phantoms, and pairs of them that test whether a model follows its prompt."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import islice

from palpate.data.annotations import check_split
from palpate.data.dataset import PromptedDataset
from palpate.data.phantoms.entries import LEAST_SIZE, PhantomEntry, phantom_entries
from palpate.data.phantoms.modalities import PHANTOMS
from palpate.data.prompt_policy import PromptPolicy, check_levels

_RARITY = 4  # upper estimate of how many scenes are sampled for one with the wanted structures
SPLIT_SIZES = {"train": 2000, "val": 200, "test": 200}  # default number of entries by split


def phantom_data(
    name: str,
    policy: PromptPolicy,
    *,
    split: str = "test",
    size: int | None = None,
    count: int | None = None,
    appearance: str | None = None,
    structures: int | None = None,
    fresh: bool = False,
) -> PromptedDataset:
    """Make a data set of phantoms of one modality.

    Args:
        name: One of ``PHANTOMS``.
        policy: Chooses the prompts; its seed is also the seed of the phantoms.
        split: ``train``, ``val`` or ``test``; splits share no scene.
        size: Side of the images in pixels, at least 32; by default 224. The scenes do not depend
            on it.
        count: Number of entries, without an upper limit; by default as in ``SPLIT_SIZES``.
        appearance: One of the appearances of the modality; by default the first.
        structures: Use only scenes with this many structures that a prompt can refer to.
        fresh: Sample new scenes in every training epoch.

    Returns:
        The data set; images are rendered when a sample is indexed.

    Raises:
        ValueError: If the name, split, level or appearance does not exist, or the size is too
            small.
    """
    appearance = _checked(name, split, size, appearance)
    count = SPLIT_SIZES[split] if count is None else count
    draw = partial(_of_epoch, name, split, policy.seed, appearance, structures, count)
    data = _dataset(name, split, size, policy, draw(0))
    return replace(data, redraw=draw) if fresh else data


def _of_epoch(
    name: str,
    split: str,
    seed: int,
    appearance: str,
    structures: int | None,
    count: int,
    epoch: int,
) -> tuple[PhantomEntry, ...]:
    """Entries of one training epoch; different epochs share no scene."""
    # `count` entries come from at most `count` scenes, since each has at least one entry. With
    # `structures`, scenes with another number of structures are skipped, hence the larger step.
    start = epoch * count * (_RARITY if structures else 1)
    return tuple(islice(phantom_entries(name, split, seed, appearance, structures, start), count))


def listening_pair(
    name: str,
    *,
    split: str = "test",
    size: int | None = None,
    prompt: str = "p6",
    seed: int = 0,
    count: int = 100,
    appearance: str | None = None,
) -> tuple[PromptedDataset, PromptedDataset]:
    """Make two data sets of the same images, one with correct and one with wrong prompts.

    A wrong prompt describes another structure in the same image: the other of two polyps or
    lesions, or another structure of the heart. A model that follows its prompt scores high on the
    first data set and low on the second. Keys agree, so that results can be paired.

    Args:
        name: One of ``PHANTOMS``.
        split: ``train``, ``val`` or ``test``.
        size: Side of the images in pixels, at least 32; by default 224.
        prompt: A level from ``p1`` on, or ``random``; ``p0`` names no structure.
        seed: Seed of the phantoms and of the choice of prompts.
        count: Number of entries.
        appearance: One of the appearances of the modality; by default the first.

    Returns:
        The data set with correct prompts and the one with wrong prompts.

    Raises:
        ValueError: If the name, split, level or appearance does not exist, the level names no
            structure, or the size is too small.
    """
    appearance = _checked(name, split, size, appearance)
    policy = PromptPolicy(prompt, seed=seed)
    if not _says_what(prompt):
        raise ValueError(
            f"Expected a prompt level that names something, got {prompt!r}, which would be right "
            "for every thing in an image. Choose p1 or higher, or 'random'."
        )
    structures = 3 if name == "phantom-echo" else 2
    right = tuple(islice(phantom_entries(name, split, seed, appearance, structures), count))
    wrong = (replace(entry, described=(entry.number + 1) % structures) for entry in right)
    return (
        _dataset(name, split, size, policy, right),
        _dataset(name, split, size, policy, wrong),
    )


def _says_what(prompt: str) -> bool:
    return prompt not in ("p0", "all")


def _checked(name: str, split: str, size: int | None, appearance: str | None) -> str:
    """Check the arguments of a data set of phantoms, and return the appearance to use."""
    if name not in PHANTOMS:
        raise ValueError(f"Expected a phantom among {', '.join(PHANTOMS)}, got {name!r}.")
    check_split(split)
    if size is not None and size < LEAST_SIZE:
        raise ValueError(
            f"Expected phantoms of at least {LEAST_SIZE} pixels, got size={size}: smaller ones "
            "lose what is asked for."
        )
    appearances = PHANTOMS[name].appearances
    if appearance is not None and appearance not in appearances:
        raise ValueError(
            f"Expected an appearance of {name} among {', '.join(appearances)}, got {appearance!r}."
        )
    return appearance or next(iter(appearances))


def _dataset(
    name: str,
    split: str,
    size: int | None,
    policy: PromptPolicy,
    entries: Iterable[PhantomEntry],
) -> PromptedDataset:
    drawn = tuple(entries)
    check_levels(policy, {entry.key: entry.prompts for entry in drawn}, name)
    return PromptedDataset(PHANTOMS[name].spec, split, drawn, policy, size)
