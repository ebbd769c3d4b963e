"""The sets that palpate can prepare. A new one is a file beside this one, and an entry here."""

from palpate.data.prepare.converter import Converter
from palpate.data.prepare.kvasir import KVASIR

CONVERTERS: dict[str, Converter] = {converter.name: converter for converter in (KVASIR,)}
