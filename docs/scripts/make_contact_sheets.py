"""Draw contact sheets of the phantoms, to judge them by eye.

    python docs/scripts/make_contact_sheets.py                    # docs/figures/phantoms-*.png
    python docs/scripts/make_contact_sheets.py --beside data OUT

The second form puts phantoms beside real images, into OUT. It needs the real data sets in DATA;
their images have licences of their own, so do not commit these sheets.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from palpate.data import PHANTOMS, Sample, load_data

FIGURES = Path(__file__).parents[1] / "figures"
ROWS, COLUMNS = 4, 6
SIZE = 144  # pixels of each phantom, which keeps a sheet below 400 kB
_WIDTH, _HEIGHT = 10.4, 8.6  # inches
_DPI = 90
_COLOURS = 256  # of the palette of the saved file
_LEVELS = {"phantom-echo": "p3"}  # the longest texts that fit beneath an image; others p6
_REAL = {"phantom-endoscopy": "kvasir", "phantom-dermoscopy": "isic", "phantom-echo": "camus"}


def main() -> None:
    """Make the sheets that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beside", nargs=2, type=Path, metavar=("DATA", "OUT"))
    beside = parser.parse_args().beside
    for name in PHANTOMS:
        if beside is None:
            _save(_phantoms(name), FIGURES / f"{name.replace('phantom', 'phantoms')}.png")
        else:
            _save(_alternating(name, beside[0]), beside[1] / f"{name}-beside-real.png")


def _phantoms(name: str) -> list[Sample]:
    """Three rows in the default appearance, and one row in the other appearances."""
    step = 3 if name == "phantom-echo" else 1  # one structure after the other, not three at once
    looks = list(PHANTOMS[name].appearances)
    level = _LEVELS.get(name, "p6")
    usual = load_data(name, size=SIZE, prompt=level)
    samples = [usual[index + index // COLUMNS * step] for index in range((ROWS - 1) * COLUMNS)]
    other = [load_data(name, size=SIZE, prompt=level, appearance=look) for look in looks[1:]]
    return samples + [other[k % len(other)][60 + k // len(other) * 4] for k in range(COLUMNS)]


def _alternating(name: str, root: Path) -> list[Sample]:
    phantoms = load_data(name, size=SIZE, prompt="p3")
    real = load_data(_REAL[name], root, size=SIZE, prompt="p3", check=False)
    pairs = [(phantoms[5 * k], real[8 * k]) for k in range(ROWS * COLUMNS // 2)]
    return [sample for pair in pairs for sample in pair]


def _save(samples: Sequence[Sample], path: Path) -> None:
    figure, axes = plt.subplots(ROWS, COLUMNS, figsize=(_WIDTH, _HEIGHT), dpi=_DPI)
    for axis, sample in zip(axes.flat, samples, strict=True):
        _draw(axis, sample)
    figure.tight_layout(pad=0.4)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
    _shrink(path)


def _draw(axis: Axes, sample: Sample) -> None:
    axis.imshow(sample.image.permute(1, 2, 0))
    if sample.mask.any():
        axis.contour(sample.mask[0], [0.5], colors="white", linewidths=0.8)
    axis.set_xticks([])
    axis.set_yticks([])
    look = sample.case.image_name.partition("@")[2].removesuffix(".png")
    text = f"[{look}] {sample.case.prompt}" if look else sample.case.prompt
    axis.set_xlabel(fill(text, 34), fontsize=6)


def _shrink(path: Path) -> None:
    """Save with a colour palette: half the size, and no visible difference."""
    from PIL import Image

    with Image.open(path) as sheet:
        small = sheet.convert("RGB").quantize(_COLOURS, kmeans=2)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main()
