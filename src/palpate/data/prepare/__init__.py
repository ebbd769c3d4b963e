"""Converters from official downloads to data folders for ``load_data``."""

from palpate.data.prepare.converter import Converter, WrongLayout
from palpate.data.prepare.item import Item
from palpate.data.prepare.left_out import LeftOut
from palpate.data.prepare.registry import CONVERTERS
from palpate.data.prepare.source import Source, open_source
from palpate.data.prepare.write import looks_like, prepare

__all__ = [
    "CONVERTERS",
    "Converter",
    "Item",
    "LeftOut",
    "Source",
    "WrongLayout",
    "looks_like",
    "open_source",
    "prepare",
]
