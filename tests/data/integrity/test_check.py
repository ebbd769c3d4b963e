"""Every defect that data sets are known to have is found, and a sound set has none."""

import json

import numpy as np
import pytest
from PIL import Image

from palpate.data.integrity import CHECKS, Wanted, check_sets
from palpate.data.locate import locate
from palpate.data.sources.cards import Card

from .conftest import scene


def only(report, check):
    """The one finding of a check, all other checks being in order."""
    (found,) = [finding for finding in report.findings if finding.check == check]
    return found


def worse(report):
    """Checks that found more than a note, but for the number of images: these sets are small."""
    found = {check for check, outcome in report.outcomes.items() if outcome in ("warning", "error")}
    return found - {"counts"}


def test_a_sound_set_has_no_finding(folder):
    report = folder.check()
    assert report.findings == ()
    assert set(report.outcomes) == set(CHECKS) - {"same-annotations", "shared-images"}
    assert {c for c, outcome in report.outcomes.items() if outcome != "pass"} == {"counts"}
    counts = [(split, n.samples, n.images, n.groups) for split, n in report.splits.items()]
    assert counts == [("train", 3, 3, 3), ("val", 3, 3, 3), ("test", 3, 3, 3)]


def test_isic_three_test_images_in_train_and_one_listed_twice(another):
    isic = another("isic")
    for number in range(4):
        isic.add("train", f"ISIC_{number}.jpg", mask=f"ISIC_{number}_Segmentation.png")
    isic.add("test", "ISIC_9.jpg", mask="ISIC_9_Segmentation.png")
    for number in (1, 2, 3):
        isic.list("test", f"ISIC_{number}.jpg", f"ISIC_{number}_Segmentation.png")
    isic.list("train", "ISIC_0.jpg", "ISIC_0_Segmentation.png")
    report = isic.check()
    assert worse(report) == {"repeated", "leak-name"}
    leak = only(report, "leak-name")
    assert leak.severity == "error"
    assert leak.files == ("ISIC_1.jpg", "ISIC_2.jpg", "ISIC_3.jpg")
    assert only(report, "repeated").files == ("anns/train.json: ISIC_0_Segmentation.png",)
    assert report.name == "isic"


def test_bkai_overlaps_with_validation_and_test(folder):
    folder.list("val", "train-0.png").list("val", "train-1.png").list("test", "train-2.png")
    found = [f for f in folder.check().findings if f.check == "leak-name"]
    assert [f.files for f in found] == [("train-0.png", "train-1.png"), ("train-2.png",)]
    assert "train and val" in found[0].message
    assert "train and test" in found[1].message


def test_annotations_of_another_set(folder, another):
    """CVC-300 was published with the annotations of ColonDB."""
    colon, cvc = another("colondb"), another("cvc300")
    for made in (colon, cvc):
        made.list("train", "1.png").list("test", "2.png").list("test", "3.png").write()
    cvc.lists["test"].reverse()
    cvc.write()
    folder.write()
    wanted = [Wanted(*locate(str(made.path))) for made in (folder, colon, cvc)]
    report = check_sets(wanted, pixels=False)
    (finding,) = report.findings
    assert (finding.check, finding.severity) == ("same-annotations", "error")
    assert "colondb and cvc300 have the same annotations in train, test (3 entries)" in (
        finding.message
    )
    assert report.outcomes == {"same-annotations": "error", "shared-images": "not run"}


def camus(another, **where):
    made = another("camus")
    for split in ("val", "test"):
        for view in ("2CH_ED", "4CH_ES"):
            made.add(
                split, f"patient0001_{view}.png", mask=f"mask_1/patient0001_{view}_gt.png",
                within=where.get(split, ""), text=f"heart of a {split} patient",
            )  # fmt: skip
    return made


def test_camus_numbers_in_two_folders_are_different_patients(another):
    report = camus(another, val="train/", test="test/").check()
    assert worse(report) == {"names"}
    finding = only(report, "names")
    assert finding.severity == "warning"
    assert "lead to different images" in finding.message
    assert len(finding.files) == 2


def test_camus_numbers_in_one_folder_have_lost_a_patient(another):
    report = camus(another).check()
    assert worse(report) == {"names"}
    assert only(report, "names").severity == "error"
    assert "a folder can hold only one" in only(report, "names").message


def test_camus_annotations_alone_show_the_collision(another):
    made = camus(another, val="train/", test="test/")
    for kind in ("images", "masks"):
        (made.path / kind).rename(made.path / f"no {kind}")
    report = made.check()
    assert worse(report) == {"names", "missing"}
    assert report.outcomes["unreadable"] == report.outcomes["unlisted"] == "not run"


def test_a_patient_in_two_splits(another):
    made = another("camus")
    for split, view in (("train", "2CH_ED"), ("test", "4CH_ED")):
        made.add(split, f"patient0007_{view}.png", mask=f"mask_2/patient0007_{view}_gt.png")
    report = made.check()
    assert worse(report) == {"leak-group"}
    assert only(report, "leak-group").files == ("patient0007",)


def test_a_group_in_the_file_wins_over_the_name(folder):
    folder.add("train", "x.png", group="p1").add("test", "y.png", group="p1")
    assert only(folder.check(), "leak-group").files == ("p1",)


def test_one_picture_under_two_names(folder):
    folder.add("train", "copy.png", like="train-0.png").add("test", "leak.png", like="val-0.png")
    report = folder.check()
    assert worse(report) == {"duplicates", "leak-content"}
    assert only(report, "duplicates").files == ("train-0.png (train) = copy.png (train)",)
    assert only(report, "leak-content").files == ("val-0.png (val) = leak.png (test)",)


@pytest.mark.parametrize("change", ["smaller", "jpeg", "brighter", "mirrored", "turned"])
def test_a_changed_copy_is_known_again(change, folder):
    picture, disc = scene("train-1.png")
    image = Image.fromarray(picture)
    options = {"quality": 60} if change == "jpeg" else {}
    changed = {
        "smaller": image.resize((70, 70)),
        "jpeg": image,
        "brighter": image.point(lambda value: min(255, int(value * 1.2))),
        "mirrored": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "turned": image.transpose(Image.Transpose.ROTATE_90),
    }[change]
    folder.save("images", "copy.jpg", np.asarray(changed), **options)
    folder.save("masks", "copy.png", np.asarray(Image.fromarray(disc).resize(changed.size, 0)))
    report = folder.list("test", "copy.jpg", "copy.png").check()
    assert worse(report) == {"leak-near"}
    (pair,) = only(report, "leak-near").files
    assert pair.startswith("train-1.png (train) ~ copy.jpg (test)")
    assert ("mirrored or turned" in pair) == (change in ("mirrored", "turned"))


def test_frames_of_one_patient_may_look_alike(folder):
    picture, _ = scene("train-1.png")
    folder.add("train", "a.png", group="p1").add("train", "b.png", group="p1")
    folder.save("images", "a.png", picture)
    folder.save("images", "b.png", (picture * 0.95).astype(np.uint8))
    folder.lists["train"] = [e for e in folder.lists["train"] if e["img_name"] != "train-1.png"]
    assert "near-duplicates" not in worse(folder.check())


def test_flat_images_are_not_each_others_copies(folder):
    for number in (0, 1):
        grey = np.full((20, 20, 3), 100 + number, np.uint8)
        folder.save("images", f"train-{number}.png", grey)
        folder.save("masks", f"train-{number}.png", scene("x", 20)[1])
    assert worse(folder.check()) == set()


def test_files_without_entries_and_entries_without_files(folder):
    folder.save("images", "loose.png", scene("loose")[0]).list("test", "gone.png")
    report = folder.check()
    assert worse(report) == {"unlisted", "missing"}
    assert only(report, "unlisted").files == ("images/loose.png",)
    assert only(report, "missing").files == ("images/gone.png", "masks/gone.png")


def test_files_that_are_no_images(folder):
    (folder.path / "images" / "train-0.png").write_bytes(b"not an image")
    whole = (folder.path / "masks" / "val-0.png").read_bytes()
    (folder.path / "masks" / "val-0.png").write_bytes(whole[: len(whole) // 2])
    report = folder.check()
    assert worse(report) == {"unreadable"}
    assert len(only(report, "unreadable").files) == 2


def white(share):
    mask = np.zeros((96, 96), np.uint8)
    mask[: round(96 * share)] = 255
    return mask


MASKS = {
    "empty": (white(0), "empty", "warning"),
    "full": (white(1), "full", "warning"),
    "tall": (white(0.5)[:, :40], "sizes", "error"),
    "half size": (white(0.5)[::2, ::2], "sizes", "warning"),
    "labels": ((white(0.5) // 255 * 3).astype(np.uint8), "binary", "error"),
    "grey": (np.maximum(white(0.5), np.arange(96, dtype=np.uint8) * 2), "binary", "error"),
    "red": (white(0.5)[..., None] * np.array([1, 0, 0], np.uint8), "binary", "error"),
}


@pytest.mark.parametrize(("mask", "check", "severity"), MASKS.values(), ids=MASKS)
def test_masks_that_are_none(mask, check, severity, folder):
    report = folder.save("masks", "test-1.png", mask).check()
    assert worse(report) == {check}
    finding = only(report, check)
    assert finding.severity == severity
    assert "test-1.png" in finding.files[0]


def test_inverted_masks(folder):
    for split in ("train", "val", "test"):
        for number in range(3):
            name = f"{split}-{number}.png"
            _, disc = scene(name)
            folder.save("masks", name, 255 - disc)
    report = folder.check()
    assert worse(report) == {"inverted"}
    finding = only(report, "inverted")
    assert finding.severity == "warning"
    assert finding.message.startswith("in 9 of 9 masks the foreground covers over half")
    _, disc = scene("test-1.png")
    for number in range(3):  # large structures are not suspicious by themselves
        folder.save("masks", f"train-{number}.png", white(0.6))
        folder.save("masks", f"val-{number}.png", disc)
    assert worse(folder.check()) == set()


def test_two_images_of_one_mask(folder):
    report = folder.list("train", "train-1.png", "train-0.png").check()
    assert only(report, "keys").files == ("anns/train.json: train-0: train-0.png, train-1.png",)


def test_names_that_differ_in_case(folder):
    folder.add("train", "IMAGE.png").add("test", "image.png")
    assert only(folder.check(), "names").files == ("IMAGE.png", "image.png")


def test_links_that_lead_outside(folder, tmp_path):
    outside = tmp_path / "outside.png"
    (folder.path / "images" / "train-0.png").rename(outside)
    (folder.path / "images" / "train-0.png").symlink_to(outside)
    report = folder.check()
    assert worse(report) == {"links"}
    assert only(report, "links").files == (f"images/train-0.png -> {outside}",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "breaks it"),
        ('{"a": 1}', "Expected a list"),
        ("[" * 100_000, "nesting|breaks it"),
        ("\x00\xff", "breaks it"),
    ],
)
def test_annotations_that_are_broken(text, message, folder):
    folder.write()
    (folder.path / "anns" / "val.json").write_text(text)
    del folder.lists["val"]
    (finding,) = [f for f in folder.check().findings if f.check == "annotations"]
    assert finding.severity == "error"
    assert pytest.approx(1) == len(finding.files)
    assert any(part in finding.message for part in message.split("|"))


def test_entries_that_lead_outside_are_not_followed(folder):
    folder.list("train", "../../secret.png")
    finding = only(folder.check(), "annotations")
    assert finding.severity == "error"
    assert "leads outside" in finding.files[0]


def test_the_official_number_of_images(folder):
    folder.write()
    found = locate(str(folder.path))
    card = Card("Set", "CC0", "https://example.org", "Doe, 2020", {"train": 6, "all": 12}, "", "")
    (report,) = check_sets([Wanted(found.folder, found.spec, card)]).sets
    assert only(report, "counts").message.endswith("all 9 instead of 12.")


def test_what_one_set_teaches_another_must_not_test(folder, another):
    second = another("second").add("test", "own.png").add("test", "theirs.png", like="train-0.png")
    folder.write(), second.write()
    report = check_sets([Wanted(*locate(str(made.path))) for made in (folder, second)])
    (finding,) = report.findings
    assert (finding.check, finding.severity) == ("shared-images", "error")
    assert finding.files == ("train-0.png (train) = theirs.png (test)",)
    assert not report.passed


def test_without_pixels_nothing_is_opened(folder):
    (folder.path / "images" / "train-0.png").write_bytes(b"not an image")
    report = folder.check(pixels=False)
    assert worse(report) == set()
    assert report.outcomes["leak-near"] == "not run"


def test_the_outcome_is_plain_json(folder):
    folder.list("test", "train-0.png").write()
    report = check_sets([Wanted(*locate(str(folder.path)))])
    again = json.loads(json.dumps(report.as_json()))
    assert again["passed"] is False
    assert again["sets"][0]["outcomes"]["leak-name"] == "error"
    assert again["sets"][0]["findings"][0]["files"] == ["train-0.png"]


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"anns/train.json.*found none"):
        check_sets([Wanted(*locate(str(tmp_path)))])
    with pytest.raises(ValueError, match="Did you mean 'kvasir'"):
        locate("kvasr")
    with pytest.raises(ValueError, match="nothing to check"):
        locate("phantom-echo")
