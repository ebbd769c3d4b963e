"""Spellings of folders in downloads and copies of them, and files that are left out aloud."""

import json
import re

import pytest

from palpate.cli import main
from palpate.data.prepare import CONVERTERS, LeftOut, open_source, prepare

from . import official
from .official import outline, picture, save


def pairs(root, images, masks, count=2, ending="png"):
    for number in range(1, count + 1):
        save(root, f"{images}/{number}.{ending}", picture(number))
        save(root, f"{masks}/{number}.{ending}", outline(5, 5, 9 + number, 12))


def found(name, root):
    with open_source(root) as source:
        return CONVERTERS[name].find(source)


@pytest.mark.parametrize("images", ["image", "images", "Image", "Images", "imgs"])
@pytest.mark.parametrize("masks", ["mask", "masks", "Mask", "GT", "Ground Truth", "labels"])
def test_spellings_of_folders_do_not_matter(images, masks, tmp_path):
    pairs(tmp_path, f"TrainDataset/{images}", f"TrainDataset/{masks}")
    assert len(found("pranet", tmp_path)) == 2


# Layouts that are in use besides those in official.py.
OTHERS = {
    "kvasir": ("Kvasir-SEG/image", "Kvasir-SEG/mask"),
    "clinicdb": ("CVC-ClinicDB/PNG/Original", "CVC-ClinicDB/PNG/GroundTruth"),
    "colondb": ("CVC-ColonDB/Images", "CVC-ColonDB/Masks"),
    "cvc300": ("CVC-EndoSceneStill/CVC-300/bbdd", "CVC-EndoSceneStill/CVC-300/gtpolyp"),
    "etis": ("ETIS-LaribPolypDB/images", "ETIS-LaribPolypDB/masks"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_layouts_of_public_sets(name, tmp_path):
    images, masks = OTHERS[name]
    ending = "bmp" if name == "cvc300" else "png"
    if name == "kvasir":
        stem = official.KVASIR[0]
        save(tmp_path, f"{images}/{stem}.jpg", picture(1))
        save(tmp_path, f"{masks}/{stem}.jpg", outline(5, 5, 9, 12))
    else:
        pairs(tmp_path, images, masks, ending=ending)
    assert len(found(name, tmp_path)) == (1 if name == "kvasir" else 2)


def test_the_usual_spelling_takes_precedence_and_the_other_is_left_out(tmp_path):
    pairs(tmp_path / "in", "images", "masks")
    save(tmp_path / "in", "labels/1.png", outline(1, 1, 3, 3))
    with pytest.warns(LeftOut, match=r"1 file of (?s:.*)does not read, such as labels/1\.png"):
        prepare("pairs", tmp_path / "in", tmp_path / "out", **PAIRS)


PAIRS = {"options": {"structure": "polyp"}, "split_as": "test", "workers": 1}


def test_two_other_spellings_are_refused(tmp_path):
    for masks in ("mask", "GT"):
        pairs(tmp_path / "in", "TrainDataset/image", f"TrainDataset/{masks}")
    with pytest.raises(ValueError, match=r"one folder of images and one of masks .*GT and .*mask"):
        prepare("pranet", tmp_path / "in", tmp_path / "out")


def test_what_is_left_out_is_counted_named_and_stored_with_the_reason(tmp_path):
    pairs(tmp_path / "in", "images", "masks")
    for number in range(4):
        save(tmp_path / "in", f"unlabelled/{number}.jpg", picture(number))
    (tmp_path / "in/more").mkdir()
    official.as_zip(tmp_path / "in/images", tmp_path / "in/more/rest.zip")
    (tmp_path / "in/notes.pdf").write_bytes(b"no image")
    with pytest.warns(LeftOut) as warned:
        folder = prepare("pairs", tmp_path / "in", tmp_path / "out", **PAIRS)
    text = str(warned[0].message)
    assert re.match(r"5 files of .*in left out:\n", text)
    assert re.search(r"\n  1: archives within the source, .* such as more/rest\.zip(\n|$)", text)
    assert "  4: files whose folder or name pairs does not read, such as unlabelled/0.jpg" in text
    assert json.loads((folder / "dataset.json").read_text())["left_out"] == [
        {
            "reason": "archives within the source, which are not opened (unpack these)",
            "count": 1,
            "files": ["more/rest.zip"],
        },
        {
            "reason": "files whose folder or name pairs does not read",
            "count": 4,
            "files": [f"unlabelled/{n}.jpg" for n in range(3)],
        },
    ]


def test_the_command_line_lists_all_and_prints_the_folder_alone(tmp_path, capsys):
    official.bkai(tmp_path / "in")
    save(tmp_path / "in", "extra/1.png", picture(1))
    words = ["--source", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--workers", "1"]
    main(["data", "prepare", "bkai", *words, "--split-as", "test"])
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'bkai_polyp'}\n"
    assert "warning: 1 file of " in err
    assert "such as extra/1.png" in err
    assert "3 images; masks: test 3" in err
    assert "left out: 1 test images of the competition, whose masks are not published: test/" in err


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"split_as to be train, val, test, .* got 'tests'"):
        prepare("pairs", tmp_path, tmp_path, split_as="tests")
