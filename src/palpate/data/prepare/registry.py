"""Registry of converters. To add one, write a module in this folder and add an entry here."""

from palpate.data.prepare.bkai import BKAI
from palpate.data.prepare.busi import BUSI
from palpate.data.prepare.camus import CAMUS
from palpate.data.prepare.chexlocalize import CHEXLOCALIZE
from palpate.data.prepare.clinicdb import CLINICDB
from palpate.data.prepare.coco import COCO
from palpate.data.prepare.colondb import COLONDB, CVC300, ETIS
from palpate.data.prepare.converter import Converter
from palpate.data.prepare.dfu import DFU
from palpate.data.prepare.isic import ISIC, ISIC2017, ISIC2018
from palpate.data.prepare.kvasir import KVASIR
from palpate.data.prepare.mask2d import MASK2D
from palpate.data.prepare.pairs import PAIRS
from palpate.data.prepare.pranet import PRANET

CONVERTERS: dict[str, Converter] = {
    converter.name: converter
    for converter in (
        KVASIR,
        CLINICDB,
        BKAI,
        PRANET,
        CVC300,
        COLONDB,
        ETIS,
        ISIC,
        ISIC2017,
        ISIC2018,
        DFU,
        BUSI,
        CAMUS,
        CHEXLOCALIZE,
        PAIRS,
        COCO,
        MASK2D,
    )
}
