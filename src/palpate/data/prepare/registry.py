"""The sets that palpate can prepare. A new one is a file beside this one, and an entry here."""

from palpate.data.prepare.camus import CAMUS
from palpate.data.prepare.chexlocalize import CHEXLOCALIZE
from palpate.data.prepare.coco import COCO
from palpate.data.prepare.converter import Converter
from palpate.data.prepare.kvasir import KVASIR
from palpate.data.prepare.mask2d import MASK2D

CONVERTERS: dict[str, Converter] = {
    converter.name: converter for converter in (KVASIR, CAMUS, CHEXLOCALIZE, COCO, MASK2D)
}
