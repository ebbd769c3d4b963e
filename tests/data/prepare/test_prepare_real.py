"""Real images, put into the layout of the official download: what comes out is what they are."""

import shutil

import numpy as np
import pytest
from PIL import Image

from palpate.data import load_data
from palpate.data.prepare import prepare
from palpate.data.reading.decode import read_pair

pytestmark = pytest.mark.real_data


def copied(paths, folder, rename=str):
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        shutil.copyfile(path, folder / rename(path.name))


def same_as(originals, folder, image_of, mask_of):
    """Every prepared pair is, pixel by pixel, the pair it came from."""
    masks = sorted((folder / "masks").iterdir())
    for mask in masks:
        image = folder / "images" / image_of(mask.stem)
        one = read_pair(image, mask)
        other = read_pair(
            originals / "images" / image.name, originals / "masks" / mask_of(mask.stem)
        )
        assert (one[0] == other[0]).all()
        assert (one[1] == other[1]).all()
        assert image.read_bytes() == (originals / "images" / image.name).read_bytes()
        assert set(np.unique(np.asarray(Image.open(mask)))) <= {0, 255}
    return len(masks)


def loaded(name, root):
    return [
        case
        for split in ("train", "val", "test")
        for case in load_data(name, root, split=split).cases
    ]


def test_kvasir_at_its_native_size(real_root, tmp_path):
    native = real_root / "kvasir_native"
    folder = prepare("kvasir", native, tmp_path, workers=1)
    assert same_as(native, folder, "{}.jpg".format, "{}.jpg".format) == 5
    cases = loaded("kvasir", tmp_path)
    assert len(cases) == 5
    assert all("polyp" in case.prompt for case in cases)


def test_isic_images_of_2016(real_root, tmp_path):
    isic = real_root / "isic"
    images = sorted((isic / "images").iterdir())[:40:2]
    masks = [isic / "masks" / f"{path.stem}_Segmentation.png" for path in images]
    for part, some in (("Training", slice(5, None)), ("Test", slice(5))):
        top = tmp_path / "source"
        copied(images[some], top / f"ISBI2016_ISIC_Part1_{part}_Data")
        copied(masks[some], top / f"ISBI2016_ISIC_Part1_{part}_GroundTruth")
    folder = prepare("isic", tmp_path / "source", tmp_path / "out", workers=1)
    stem = len("_Segmentation")
    count = same_as(isic, folder, lambda name: f"{name[:-stem]}.jpg", "{}.png".format)
    assert count == 20
    assert len(load_data("isic", tmp_path / "out", split="test")) == 5


def test_validation_images_of_isic_2017(real_root, tmp_path):
    isic = real_root / "isic2017_val_640"
    images = sorted((isic / "images").iterdir())[:10]
    masks = [next((isic / "masks").glob(f"{path.stem}*")) for path in images]
    copied(images, tmp_path / "s" / "ISIC-2017_Validation_Data")
    copied(
        masks,
        tmp_path / "s" / "ISIC-2017_Validation_Part1_GroundTruth",
        lambda name: name.replace("_Segmentation", "_segmentation"),
    )
    folder = prepare("isic2017", tmp_path / "s", tmp_path / "out", workers=1)
    mask_of = {path.stem: mask.name for path, mask in zip(images, masks, strict=True)}
    stem = len("_Segmentation")
    count = same_as(
        isic, folder, lambda name: f"{name[:-stem]}.jpg", lambda name: mask_of[name[:-stem]]
    )
    assert count == 10


def test_busi_by_the_names_it_was_published_with(real_root, tmp_path):
    busi = real_root / "busi"
    for pathology in ("benign", "malignant"):
        for image in sorted((busi / "images").glob(f"*_{pathology}.png"))[:8]:
            stem = f"{pathology} ({image.stem.split('_')[0]})"
            to = tmp_path / "s" / "Dataset_BUSI_with_GT" / pathology
            copied([image], to, lambda _, stem=stem: f"{stem}.png")
            copied([busi / "masks" / image.name], to, lambda _, stem=stem: f"{stem}_mask.png")
    folder = prepare("busi", tmp_path / "s", tmp_path / "out", workers=1)
    assert same_as(busi, folder, "{}.png".format, "{}.png".format) == 16
    cases = loaded("busi", tmp_path / "out")
    assert {case.key for case in cases} <= {path.stem for path in (busi / "masks").iterdir()}
    assert len(cases) == 16
