"""Write ``docs/formats.md``: every kind of mask, volume and network, and how it is read.

    python docs/scripts/make_formats.py

Each file is written to a temporary folder and read by palpate's public functions, without options
and with those that it needs. The page says what was seen; a test compares it with a new one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from textwrap import fill as filled

from formats_kind import Kind
from formats_masks import MASKS
from formats_networks import NETWORKS
from formats_volumes import VOLUMES

fill = partial(filled, width=110, break_on_hyphens=False, break_long_words=False)
PAGE = Path(__file__).resolve().parents[1] / "formats.md"

_INTRODUCTION = (
    "`python docs/scripts/make_formats.py` writes every kind of mask, volume and network on this "
    "page, reads it as it is and with the option that it needs, compares what was read with what "
    "was written, and makes the page of it. Messages in “quotes” are shortened."
)
_MASKS = (
    "Each has a liver, and some have a tumour as well. Files are read by `load_pairs`, arrays by "
    "`from_samples`; *check* is `palpate data check`. On the command line and in recipes, the "
    "options have [other forms](data.md#masks)."
)
_VOLUMES = (
    'Read by `prepare("mask2d", ...)`, with the option given as `--options` on the command line; '
    "see [volumes](data.md#volumes). The image is that of a slice in the window `full`. The file "
    "with JPEG-LS is compared with pydicom's file without compression, the JPEG with 12 bits with "
    "what SimpleITK reads."
)
_NETWORKS = (
    "Files are read by `load_model`, modules by `wrap`; see [models](models.md#networks-in-files) "
    "for the command line, and for [functions](models.md#your-own-network) such as those of "
    "`net.py`. Logits and the gradient at the pixels are compared with those of the network that "
    "was written. After a semicolon are settings that palpate found, or was given."
)
SECTIONS: tuple[tuple[str, str, Sequence[Kind]], ...] = (
    ("mask", _MASKS, MASKS),
    ("volume", _VOLUMES, VOLUMES),
    ("network", _NETWORKS, NETWORKS),
)


def page(row: Callable[[Kind], str] = Kind.row) -> str:
    """The text of the page.

    Args:
        row: Returns the line of the table for a kind of file.
    """
    lines = ["# File formats", "", fill(_INTRODUCTION)]
    for what, text, kinds in SECTIONS:
        lines += ["", f"## {what.capitalize()}s", "", fill(text), ""]
        lines += [f"| {what} | as it is | option | with the option |", "| --- | --- | --- | --- |"]
        lines += map(row, kinds)
    return "\n".join(lines) + "\n"


def main() -> None:
    missing = sorted({name for _, _, kinds in SECTIONS for kind in kinds for name in kind.missing})
    if missing:
        raise SystemExit(f"Expected these packages to be installed: {', '.join(missing)}.")
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
