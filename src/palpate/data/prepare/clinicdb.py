"""CVC-ClinicDB: ``Original`` and ``Ground Truth``, as TIFF (original) or PNG (Kaggle)."""

import re
from pathlib import PurePosixPath

from palpate.data.prepare.colondb import names_another
from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import Item
from palpate.data.prepare.layout import (
    Layout,
    Pair,
    pair_item,
    pairs_of,
    pictures,
    stems_like,
    wrong,
)
from palpate.data.prepare.metadata import read_table
from palpate.data.prepare.source import Source

_LAYOUTS = [
    Layout("PNG/Original", "PNG/Ground Truth"),  # preferred if both exist: browsers show PNG
    Layout("TIF/Original", "TIF/Ground Truth"),
    Layout("Original", "Ground Truth"),
]
_REST = {r"/TIF/": "copies in TIFF of the same frames"}
_NUMBER = re.compile(r"\d+")
_IDENTITY, _SEQUENCE = "frame_id", "sequence_id"


def find(source: Source) -> list[Item]:
    """Find one item per frame, grouped by video sequence if ``metadata.csv`` names these."""
    folders = pictures(source)
    own = {} if names_another(folders, "clinicdb") else stems_like(folders, _NUMBER)
    pairs = pairs_of(source, own, _LAYOUTS)
    if not pairs:
        raise wrong(source, folders, "Original and Ground Truth of CVC-ClinicDB")
    sequences = _sequences(source)
    missing = [pair.stem for pair in pairs if sequences and pair.stem not in sequences]
    if missing:
        raise ValueError(
            f"Expected the sequence of every frame in the metadata of {source.path}, got none of "
            f"frame {missing[0]} ({len(missing)} frames without). Complete it, or take it away."
        )
    return [_item(source, pair, sequences.get(pair.stem)) for pair in pairs]


def _item(source: Source, pair: Pair, sequence: str | None) -> Item:
    if sequence is None:
        return pair_item(source, pair, "polyp")
    facts = {"sequence": sequence}
    return pair_item(source, pair, "polyp", group=f"sequence {sequence}", facts=facts)


def _sequences(source: Source) -> dict[str, str]:
    """Sequence by frame; empty without metadata."""
    tables = [name for name in source.names if PurePosixPath(name).name == "metadata.csv"]
    rows = [row for name in tables for row in read_table(source, name, _IDENTITY, _SEQUENCE)]
    return {row[_IDENTITY]: row[_SEQUENCE] for row in rows}


CLINICDB = Converter("clinicdb", "clinicdb_polyp", find, card="clinicdb", known_rest=_REST)
