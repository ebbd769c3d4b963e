"""A contact sheet of random samples of a data set."""

from pathlib import Path

import torch

from palpate.data import DATASETS, PromptedDataset, load_data
from palpate.data.locate import locate
from palpate.data.sources.cards import CARDS
from palpate.data.sources.hugging_face import PREFIX as HF
from palpate.data.splits import is_pool
from palpate.randomness import generator
from palpate.reporting.figures.contact_sheet import Outlined, Tile, check_sheet, contact_sheet


def show_samples(
    name: str,
    root: Path | None = None,
    out: Path | None = None,
    *,
    split: str = "test",
    count: int = 24,
    prompt: str = "random",
    annotations: str = "",
    seed: int = 0,
) -> Path:
    """Draw a contact sheet of random images, each with all of its masks.

    Args:
        name: Name or folder of a data set, a pool, phantoms, or ``hf:...``.
        root: Folder that holds named data sets.
        out: PNG file to write; by default named after the data set and the split.
        split: ``train``, ``val``, ``test`` or ``all``.
        count: Number of images; all, if there are fewer.
        prompt: Prompt level that is shown, or ``random``.
        annotations: Folder below ``anns/`` that has another split.
        seed: Seed of the choice of images and of random prompts.

    Returns:
        The path of the sheet.

    Raises:
        ValueError, OSError: If the data set is not there, a file cannot be read, or the sheet
            cannot be written, which is checked first.
    """
    if count < 1:
        raise ValueError(f"Expected count >= 1, got {count}.")
    if out is not None:
        check_sheet(out)
    title, data = _load(name, root, split=split, prompt=prompt, annotations=annotations, seed=seed)
    path = out or Path(f"{title.replace('+', '-')}-{split}.png")
    check_sheet(path)
    images: dict[tuple[str, str], list[int]] = {}
    for index, case in enumerate(data.cases):
        images.setdefault((case.dataset, case.image_name), []).append(index)
    order = torch.randperm(len(images), generator=generator(seed, "contact sheet"))[:count]
    groups = list(images.values())
    tiles = [_tile(data, groups[number]) for number in sorted(order.tolist())]
    return contact_sheet(
        tiles,
        path,
        title=f"{title} · {split}",
        notes=_notes(title, len(tiles), len(images), prompt, seed),
    )


def _load(name: str, root: Path | None, **options: object) -> tuple[str, PromptedDataset]:
    if name.startswith(HF):
        data = load_data(name, root, check=False, **options)  # type: ignore[arg-type]
        return data.spec.name, data
    if is_pool(name) or name in DATASETS:
        return name, load_data(name, root, check=False, **options)  # type: ignore[arg-type]
    found = locate(name, root)
    known = found.spec.name if found.spec.name in DATASETS else "folder"
    return found.spec.name, load_data(known, found.folder, check=False, **options)  # type: ignore[arg-type]


def _tile(data: PromptedDataset, indices: list[int]) -> Tile:
    samples = [data[index] for index in indices]
    first = samples[0]
    return Tile(
        name=first.case.image_name,
        image=first.image.numpy(),
        masks=tuple(
            Outlined(s.case.structure, s.mask[0].numpy(), s.case.prompt, s.case.prompt_level)
            for s in samples
        ),
    )


def _notes(name: str, shown: int, there: int, prompt: str, seed: int) -> tuple[str, ...]:
    what = f"{shown} of {there} images, picked by seed {seed}; prompt {prompt}"
    card = CARDS.get(name)
    return (what,) if card is None else (what, f"{card.title}. {card.citation}")
