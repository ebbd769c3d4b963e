"""Kinds of masks: an image with a liver and a tumour, as files and as arrays."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from formats_kind import Kind, shortened
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

import palpate as pp
from palpate.data import PromptedDataset, from_samples
from palpate.data.integrity import Wanted, check_sets
from palpate.data.locate import locate
from palpate.data.prepare import prepare

SIDE = 32


def _disc(row: int, column: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


LIVER, TUMOUR = _disc(11, 11, 8), _disc(23, 23, 6)
IMAGE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
_DRAWN = {"liver": LIVER, "tumour": TUMOUR}
_SAME = 0.01  # share of the pixels by which a mask from a lossy file may differ


def labels(ground: float, liver: float, tumour: float, kind: Any = np.uint8) -> NDArray[Any]:
    """A label map."""
    return np.select([LIVER, TUMOUR], [liver, tumour], ground).astype(kind)


def _two(of: float, kind: Any = np.uint8) -> NDArray[Any]:
    return (LIVER * of).astype(kind)


def _colours() -> NDArray[np.uint8]:
    return np.stack([LIVER, TUMOUR, LIVER & TUMOUR], axis=-1).astype(np.uint8) * 255


def _palette() -> Image.Image:
    drawing = Image.fromarray(labels(0, 1, 2), mode="P")
    drawing.putpalette([0, 0, 0, 200, 40, 40, 40, 40, 200])
    return drawing


def _alpha() -> NDArray[np.uint8]:
    return np.dstack([np.full((SIDE, SIDE, 3), 255, np.uint8), _two(255)])


def _soft() -> NDArray[np.uint8]:
    return np.rint(gaussian_filter(_two(255, float), 0.7)).astype(np.uint8)


def _inverted() -> NDArray[np.uint8]:
    return 255 - _two(255)


def _write(mask: Callable[[], Any], ending: str = "png") -> None:
    for name in ("images", "masks"):
        Path(name).mkdir()
    for number in range(3):
        Image.fromarray(np.roll(IMAGE, number)).save(f"images/{number}.png")
        drawing = mask()
        drawing = drawing if isinstance(drawing, Image.Image) else Image.fromarray(drawing)
        drawing.save(f"masks/{number}.{ending}", quality=85)


def _read(**options: Any) -> str:
    """Read the folders; ``values`` may name several structures."""
    prompt = None if isinstance(options.get("values"), dict) else "liver"
    return _seen(pp.load_pairs("images", "masks", prompt=prompt, split="all", **options))


def _read_array(mask: Callable[[], NDArray[Any]], **options: Any) -> str:
    prompts = {} if isinstance(options.get("values"), dict) else {"prompts": "liver"}
    return _seen(from_samples([{"image": IMAGE, "mask": mask(), **prompts}], **options))


def _read_inverted(**options: Any) -> str:
    """Read the folders, and let ``palpate data check`` look at them as well."""
    told = {"structure": "liver"} | {name: str(value) for name, value in options.items()}
    with TemporaryDirectory() as out:
        prepare("pairs", ".", out, options=told)
        (report,) = check_sets([Wanted(*locate("pairs", Path(out)))]).sets
    warned = [each.message for each in report.findings if each.check == "inverted"]
    checked = [f"check warns: “{shortened(message)}”" for message in warned]
    return "; ".join([_read(**options), *checked])


def _seen(data: PromptedDataset) -> str:
    """What a data set has, compared with what was drawn."""
    told = dict.fromkeys(_told(sample) for sample in data)
    return ", ".join(told)


def _told(sample: Any) -> str:
    drawn, found = _DRAWN[sample.prompt], sample.mask[0].numpy()
    share = (found != drawn).mean()
    if share == 0:
        told = "as drawn"
    elif share == 1:
        told = "inverted"
    elif share <= _SAME:
        told = "as drawn within 1 %"
    else:
        told = f"not as drawn: {100 * share:.0f} % of the pixels differ"
    ignored = sample.ignored
    if ignored is not None:
        right = (ignored[0].numpy() == TUMOUR).all()
        told += ", tumour ignored" if right else ", other pixels ignored"
    return f"{sample.prompt} {told}"


def _file(name: str, mask: Callable[[], Any], ending: str = "png", **options: Any) -> Kind:
    return Kind(name, partial(_write, mask, ending), _read, options)


def _array(name: str, mask: Callable[[], Any], **options: Any) -> Kind:
    return Kind(name, lambda: None, partial(_read_array, mask), options)


MASKS = (
    _file("0, 255", lambda: _two(255)),
    _file("0, 1", lambda: _two(1)),
    _file("0, 1, and 255 for pixels to be ignored", lambda: labels(0, 1, 255), ignore=255),
    _file("0, 127, 255: one structure", lambda: labels(0, 127, 255), values=127),
    _file("0, 127, 255: two structures", lambda: labels(0, 127, 255),
          values={127: "liver", 255: "tumour"}),
    _file("0 for the structure, 128, 255 for the rest", lambda: labels(255, 0, 128), values=0),
    _file("RGB, red and green", _colours, values="#ff0000"),
    _file("palette of three colours", _palette, values=1),
    _file("white, with the shape in the alpha channel", _alpha),
    _file("16 bits: 0, 65535", lambda: _two(65535, np.uint16)),
    _file("16 bits: 0, 1, 2", lambda: labels(0, 1, 2, np.uint16), values=1),
    _file("JPEG of 0, 255", lambda: _two(255), "jpg"),
    _file("JPEG of 0, 1", lambda: _two(1), "jpg"),
    _file("soft edges", _soft),
    Kind("inverted: white ground", partial(_write, _inverted), _read_inverted, {"values": 0}),
    _array("array, booleans", lambda: LIVER),
    _array("array, floats 0.0 to 1.0", lambda: _soft() / 255),
    _array("array, floats 0.0, 0.5, 1.0", lambda: labels(0, 1, 0.5, float), values=">=200"),
    _array("array, floats 0.0, 128.0, 255.0", lambda: labels(0, 128, 255, float), values=128),
)  # fmt: skip
