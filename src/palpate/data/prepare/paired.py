"""An item that is an image file with a mask file, as in most sets of single images."""

from collections.abc import Mapping
from functools import partial

from palpate.data.prepare.item import Item
from palpate.data.prepare.layout import Pair
from palpate.data.prepare.pictures import Foreground, of_one_colour, read_image, read_masks
from palpate.data.prepare.source import Source


def paired(
    source: Source,
    pair: Pair,
    structure: str,
    *,
    split: str | None = None,
    group: str | None = None,
    facts: Mapping[str, str] | None = None,
    folder: str = "",
    mask_name: str | None = None,
    threshold: Foreground = of_one_colour,
) -> Item:
    """One image that is copied as it is, with one mask that becomes a binary PNG.

    Args:
        source: Both files are in it.
        pair: Their names in it.
        structure: What the mask outlines.
        split: Its split where the source says so.
        group: The patient where known; by default the image is its own group.
        facts: What else is known.
        folder: Below ``images/`` and ``masks/``, ending in a slash; by default none.
        mask_name: By default that of the image, ending in ``.png``.
        threshold: Where a mask is set, as stored.
    """
    image_name = folder + pair.image_name
    return Item(
        image_name=image_name,
        mask_name=folder + (mask_name or f"{pair.stem}.png"),
        group=group or image_name,
        structure=structure,
        split=split,
        members=(pair.image, pair.mask),
        read_image=partial(read_image, source, pair.image),
        read_mask=partial(read_masks, source, pair.image, pair.mask, threshold=threshold),
        original=pair.image,
        facts=facts or {},
    )
