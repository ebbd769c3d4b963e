"""Kvasir-SEG: ``Kvasir-SEG/images/*.jpg``, ``Kvasir-SEG/masks/*.jpg`` of the same names."""

from functools import partial

from palpate.data.prepare.converter import Converter, WrongLayout
from palpate.data.prepare.item import Item
from palpate.data.prepare.layout import folders_named, pair_up, pictures
from palpate.data.prepare.pictures import read_image, read_masks
from palpate.data.prepare.source import Source


def find(source: Source) -> list[Item]:
    """One item an image; masks are JPEG in the download and become binary PNG."""
    folders = pictures(source)
    images = folders_named(folders, "kvasir-seg/images")
    masks = folders_named(folders, "kvasir-seg/masks")
    if len(images) != 1 or len(masks) != 1:
        raise WrongLayout(
            f"Expected Kvasir-SEG/images and Kvasir-SEG/masks in {source.path}, got "
            f"{', '.join(list(folders)[:5]) or 'no images'}."
        )
    pairs = pair_up(source, folders[images[0]], folders[masks[0]])
    return [
        Item(
            image_name=f"{pair.stem}{pair.suffix}",
            mask_name=f"{pair.stem}.png",
            group=f"{pair.stem}{pair.suffix}",
            structure="polyp",
            split=None,
            members=(pair.image, pair.mask),
            read_image=partial(read_image, source, pair.image),
            read_mask=partial(read_masks, source, pair.image, pair.mask),
            original=pair.image,
        )
        for pair in pairs
    ]


KVASIR = Converter("kvasir", "kvasir_polyp", find, card="kvasir")
