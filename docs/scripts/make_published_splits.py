"""Write src/palpate/data/splits/published.json.gz from published annotation files.

    python docs/scripts/make_published_splits.py ANNOTATIONS

ANNOTATIONS holds a folder per set with anns/{train,val,test}.json, as in the repository
naamiinepal/medvlsm (MIT licence). Only the names of images are kept, which are facts.
"""

import argparse
import gzip
import json
from pathlib import Path

OUT = Path(__file__).parents[2] / "src" / "palpate" / "data" / "splits" / "published.json.gz"
SOURCE = {
    "title": "MedVLSM, Poudel et al., 2024, https://arxiv.org/abs/2308.07706",
    "url": "https://github.com/naamiinepal/medvlsm",
    "commit": "dc36a3af83035efa344c8ce26397528ad173569e",
    "licence": "MIT",
}
# Without CVC-300, whose published lists are those of ColonDB, and without CAMUS, whose validation
# and test splits use the same names for different patients.
FOLDERS = {
    "kvasir": "kvasir_polyp",
    "clinicdb": "clinicdb_polyp",
    "bkai": "bkai_polyp",
    "colondb": "colondb_polyp",
    "etis": "etis_polyp",
    "isic": "isic",
    "dfu": "dfu",
    "busi": "busi",
    "chexlocalize": "chexlocalize",
}


def main() -> None:
    """Read the annotations that the command line names, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path)
    root = parser.parse_args().annotations
    sets = {name: _splits(root / folder / "anns") for name, folder in FOLDERS.items()}
    text = json.dumps({"source": SOURCE, "sets": sets}, separators=(",", ":"))
    OUT.write_bytes(gzip.compress(text.encode(), 9, mtime=0))  # no date: same names, same file
    print(f"{OUT}: {OUT.stat().st_size} bytes")


def _splits(folder: Path) -> dict[str, str]:
    """The images of each split as listed, with repetitions; an image with several masks once."""
    return {split: " ".join(_names(folder / f"{split}.json")) for split in ("train", "val", "test")}


def _names(path: Path) -> list[str]:
    entries = json.loads(path.read_text(encoding="utf-8"))
    images = {entry["mask_name"]: entry["img_name"] for entry in entries}
    once = len(set(images.values())) < len(images)
    names = [entry["img_name"] for entry in entries]
    return sorted(set(names)) if once else sorted(names)


if __name__ == "__main__":
    main()
