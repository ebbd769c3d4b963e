"""Phantoms as data sets."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import islice

from palpate.data.annotations import check_split
from palpate.data.dataset import PromptedDataset
from palpate.data.phantoms.entries import LEAST_SIZE, PhantomEntry, phantom_entries
from palpate.data.phantoms.modalities import PHANTOMS
from palpate.data.prompt_policy import PromptPolicy, check_levels

_RARITY = 4  # scenes that are drawn for one of two things, with room to spare
SPLIT_SIZES = {"train": 2000, "val": 200, "test": 200}  # entries that load_data gives


def phantom_data(
    name: str,
    policy: PromptPolicy,
    *,
    split: str = "test",
    size: int | None = None,
    count: int | None = None,
    look: str | None = None,
    things: int | None = None,
    fresh: bool = False,
) -> PromptedDataset:
    """Phantoms of one kind.

    Args:
        name: One of ``PHANTOMS``.
        policy: Chooses the texts; its seed is that of the phantoms, too.
        split: ``train``, ``val`` or ``test``; no scene is in two of them.
        size: Side of the images in pixels; the same scene at any size.
        count: How many entries, as many as you like; by default as in ``SPLIT_SIZES``.
        look: One of the appearances of the modality; by default the first.
        things: Only scenes that can be asked for this many things.
        fresh: Every epoch of a training has scenes of its own.

    Raises:
        ValueError: If the split, level or appearance does not exist, or the size is too small.
    """
    look = _checked(name, split, size, look)
    count = SPLIT_SIZES[split] if count is None else count
    draw = partial(_of_epoch, name, split, policy.seed, look, things, count)
    data = _dataset(name, split, size, policy, draw(0))
    return replace(data, redraw=draw) if fresh else data


def _of_epoch(
    name: str, split: str, seed: int, look: str, things: int | None, count: int, epoch: int
) -> tuple[PhantomEntry, ...]:
    # A scene has an entry at least, and most are passed over where two things are wanted, so that
    # epochs that are this far apart share none.
    start = epoch * count * (_RARITY if things else 1)
    return tuple(islice(phantom_entries(name, split, seed, look, things, start), count))


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
    """The same images and masks with the right prompts and with those of another thing in them.

    A model that listens scores high on the first and low on the second. The images are those of
    two polyps, two lesions, or a heart, where the other thing is another structure. Keys agree, so
    that results can be paired.

    Args:
        name: One of ``PHANTOMS``.
        split: As in :func:`phantom_data`.
        size: As in :func:`phantom_data`.
        prompt: A level that says what is meant, so not ``p0``, or ``random``.
        seed: Of the phantoms and of the draw of prompts.
        count: How many entries.
        appearance: How the images are recorded.
    """
    look = _checked(name, split, size, appearance)
    policy = PromptPolicy(prompt, seed=seed)
    if not _says_what(prompt):
        raise ValueError(
            f"Expected a prompt level that names something, got {prompt!r}, which would be right "
            "for every thing in an image. Choose p1 or higher, or 'random'."
        )
    things = 3 if name == "phantom-echo" else 2
    right = tuple(islice(phantom_entries(name, split, seed, look, things), count))
    wrong = (replace(entry, told=(entry.number + 1) % things) for entry in right)
    return (
        _dataset(name, split, size, policy, right),
        _dataset(name, split, size, policy, wrong),
    )


def _says_what(prompt: str) -> bool:
    return prompt not in ("p0", "all")


def _checked(name: str, split: str, size: int | None, look: str | None) -> str:
    """Refuse what cannot be drawn; the appearance to draw."""
    if name not in PHANTOMS:
        raise ValueError(f"Expected a phantom among {', '.join(PHANTOMS)}, got {name!r}.")
    check_split(split)
    if size is not None and size < LEAST_SIZE:
        raise ValueError(
            f"Expected phantoms of at least {LEAST_SIZE} pixels, got size={size}: smaller ones "
            "lose what is asked for."
        )
    appearances = PHANTOMS[name].appearances
    if look is not None and look not in appearances:
        raise ValueError(
            f"Expected an appearance of {name} among {', '.join(appearances)}, got {look!r}."
        )
    return look or next(iter(appearances))


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
