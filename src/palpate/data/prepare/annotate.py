"""``anns/*.json`` and ``dataset.json`` of a prepared set, written when all its files are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import torch

from palpate.data.annotations import SPLITS
from palpate.data.cards import CARDS
from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import Item
from palpate.data.prepare.record import Ledger, Record, write_json
from palpate.randomness import generator

_VALIDATION, _TEST = 0.1, 0.1  # as MedVLSM dealt the sets that have no split of their own


def annotate(
    ledger: Ledger,
    converter: Converter,
    items: Sequence[Item],
    records: Sequence[Record],
    seed: int,
) -> None:
    """List the entries of each split, and take away what only an earlier source had."""
    splits = _splits(items, seed)
    folder = ledger.folder
    (folder / "anns").mkdir(exist_ok=True)
    counts: Mapping[str, int] = Counter(splits.values())
    for split in SPLITS:
        path = folder / "anns" / f"{split}.json"
        entries = [r.entry for r in records if splits[r.mask_name] == split]
        if entries:
            write_json(path, entries)
        else:
            path.unlink(missing_ok=True)
    card = asdict(CARDS[converter.card]) if converter.card else None
    summary = {
        "name": converter.name,
        "card": card,
        "counts": {split: counts[split] for split in SPLITS if counts[split]},
        "images": len({item.image_name for item in items}),
        "seed": seed,
        "generator": {"palpate": _version(), "converter": converter.version},
    }
    ledger.finish(summary, records)
    _remove_abandoned(ledger, records)


def _version() -> str:
    try:
        return version("palpate")
    except PackageNotFoundError:  # run from its source, without being installed
        return "not installed"


def _splits(items: Sequence[Item], seed: int) -> dict[str, str]:
    """The split of each mask: the source's own, or dealt by the seed, group by group."""
    groups = sorted({item.group for item in items if item.split is None})
    order = torch.randperm(len(groups), generator=generator(seed, "prepare")).tolist()
    test, val = (max(1, round(part * len(groups))) for part in (_TEST, _VALIDATION))
    dealt = {
        groups[number]: "test" if place < test else "val" if place < test + val else "train"
        for place, number in enumerate(order)
    }
    return {item.mask_name: item.split or dealt[item.group] for item in items}


def _remove_abandoned(ledger: Ledger, records: Sequence[Record]) -> None:
    wanted = {name for record in records for name in record.files}
    for record in ledger.before.values():
        for name in record.files.keys() - wanted:
            (ledger.folder / name).unlink(missing_ok=True)
