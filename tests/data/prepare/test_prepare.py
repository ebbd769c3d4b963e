"""Preparing again, after a kill, and with bad files: what is done stays done."""

import json
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from torch.testing import assert_close

from palpate.cli import main
from palpate.data import load_data
from palpate.data.prepare import CONVERTERS, Item, prepare
from palpate.data.prepare.item import check_items
from palpate.data.prepare.pictures import of_one_colour
from palpate.data.reading.decode import read_pair

from . import official
from .official import HEIGHT, KVASIR, WIDTH, as_zip, outline, picture, save

_ORIENTATION = 0x0112


@pytest.fixture
def source(tmp_path):
    official.kvasir(tmp_path / "source")
    return tmp_path / "source"


def run(source, **options):
    return prepare("kvasir", source, source.parent / "out", **{"workers": 1} | options)


def stamps(folder):
    """When each file was written, by name."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for kind in ("images", "masks")
        for path in (folder / kind).rglob("*.*")
    }


def made_anew(folder, before):
    now = stamps(folder)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def image(number):
    return f"images/{KVASIR[number]}.jpg"


def mask(number):
    return f"masks/{KVASIR[number]}.png"


def test_a_second_run_writes_nothing_and_says_the_same(source):
    folder = run(source)
    before, summary = stamps(folder), (folder / "dataset.json").read_text()
    assert len(before) == 6
    run(source)
    assert made_anew(folder, before) == []
    assert (folder / "dataset.json").read_text() == summary


def test_the_same_download_packed_otherwise_is_nothing_new(source):
    folder = run(source)
    before = stamps(folder)
    prepare("kvasir", as_zip(source, source.parent / "kvasir-seg.zip"), folder.parent)
    assert made_anew(folder, before) == []


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_what_changed_in_the_source_is_done_again(kind, source):
    folder = run(source)
    before = stamps(folder)
    changed = outline(9, 9, 12, 12) if kind == "masks" else picture(77)
    save(source, f"Kvasir-SEG/{kind}/{KVASIR[1]}.jpg", changed)
    run(source)
    assert made_anew(folder, before) == [image(1), mask(1)]
    if kind == "masks":
        assert (np.asarray(Image.open(folder / mask(1))) > 0).sum() < 30


def test_what_was_altered_or_lost_in_the_output_is_done_again(source):
    folder = run(source)
    before = stamps(folder)
    content = (folder / mask(0)).read_bytes()
    (folder / mask(0)).write_bytes(b"altered")
    (folder / image(1)).unlink()
    run(source)
    assert made_anew(folder, before) == [image(0), image(1), mask(0), mask(1)]
    assert (folder / mask(0)).read_bytes() == content


def test_a_new_version_of_a_converter_does_all_again(source, monkeypatch):
    folder = run(source)
    before = stamps(folder)
    newer = replace(CONVERTERS["kvasir"], version=CONVERTERS["kvasir"].version + 1)
    monkeypatch.setitem(CONVERTERS, "kvasir", newer)
    run(source)
    assert len(made_anew(folder, before)) == 6


def test_another_seed_deals_anew_and_writes_no_image(tmp_path):
    official.clinicdb_kaggle(tmp_path / "source")
    (tmp_path / "source" / "metadata.csv").unlink()
    folder = prepare("clinicdb", tmp_path / "source", tmp_path / "out", workers=1)
    before, seen = stamps(folder), set()
    for seed in range(4):
        prepare("clinicdb", tmp_path / "source", tmp_path / "out", seed=seed, workers=1)
        seen.add((folder / "anns" / "test.json").read_text())
    assert made_anew(folder, before) == []
    assert len(seen) > 1


@pytest.mark.filterwarnings("ignore::palpate.data.prepare.LeftOut")  # another set
def test_what_is_no_longer_in_the_source_is_taken_away(source):
    official.clinicdb_published(source)
    folder = prepare("clinicdb", source, source.parent / "out", workers=1)
    (folder / "masks" / "mine.txt").write_text("not palpate's")
    for kind in ("Original", "Ground Truth"):
        (source / "CVC-ClinicDB" / kind / "4.tif").unlink()
    prepare("clinicdb", source, source.parent / "out", workers=1)
    left = sorted(path.name for path in (folder / "masks").iterdir())
    assert left == ["1.png", "2.png", "3.png", "mine.txt"]
    assert not (folder / "images" / "4.tif").exists()


def test_a_killed_run_goes_on_where_it_was(source):
    def kill(stage, done, total, note=""):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, progress=kill)
    folder = source.parent / "out" / "kvasir_polyp"
    assert not (folder / "anns").exists()
    # As a kill leaves it: a line cut off, and a file half written.
    with (folder / ".prepared.jsonl").open("a") as journal:
        journal.write('{"mask_name": "half')
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    half = folder / "masks" / f".half.png.{socket.gethostname()}-{gone.pid}-0123abcd.unfinished"
    half.write_bytes(b"half")
    before = stamps(folder)
    run(source)
    again = [name for name in made_anew(folder, before) if name in before]
    assert again == [half.relative_to(folder).as_posix()]  # removed
    assert not half.exists()
    assert len(stamps(folder)) == 6
    assert not list(folder.glob(".prepared*"))
    assert sum(len(load_data("kvasir", folder, split=s)) for s in ("train", "val", "test")) == 3


def test_progress_counts_every_image(source):
    told = []
    run(source, progress=lambda stage, done, total, _="": told.append((stage, done, total)))
    assert told == [("prepare kvasir", done, 3) for done in (1, 2, 3)]


def test_many_threads_write_what_one_does(source):
    one = run(source)
    many = prepare("kvasir", source, source.parent / "many", workers=8)
    for path in stamps(one):
        assert (one / path).read_bytes() == (many / path).read_bytes()
    assert (one / "dataset.json").read_text() == (many / "dataset.json").read_text()


def test_bad_files_are_all_listed_and_the_others_are_done(source):
    good = (source / "Kvasir-SEG" / "images" / f"{KVASIR[0]}.jpg").read_bytes()
    cut = source / "Kvasir-SEG" / "images" / f"{KVASIR[0]}.jpg"
    cut.write_bytes(good[: len(good) // 2])
    save(source, f"Kvasir-SEG/masks/{KVASIR[2]}.jpg", outline(1, 1, 5, 5, size=(WIDTH, WIDTH)))
    with pytest.raises(ValueError, match=r"1 of 3 images are prepared.*\(2\)") as error:
        run(source)
    assert error.match(rf"(?s:.*)readable image in .*{KVASIR[0]}.jpg, but: Truncated")
    assert error.match(rf"(?s:.*)40x40 pixels in .*{KVASIR[2]}.jpg for 40x30")
    assert error.match(r"(?s:.*)Replace these files and run the same command again")
    folder = source.parent / "out" / "kvasir_polyp"
    assert not (folder / "anns").exists()
    before = stamps(folder)
    cut.write_bytes(good)
    save(source, f"Kvasir-SEG/masks/{KVASIR[2]}.jpg", outline(1, 1, 5, 5))
    run(source)
    assert not {image(1), mask(1)} & set(made_anew(folder, before))
    assert len(stamps(folder)) == 6


def test_a_prepared_set_stays_valid_when_its_source_breaks(source):
    folder = run(source)
    content = {name: (folder / name).read_bytes() for name in stamps(folder)}
    (source / "Kvasir-SEG" / "masks" / f"{KVASIR[1]}.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"2 of 3(?s:.*)Expected a readable image in .*cju1aq"):
        run(source)
    assert {name: (folder / name).read_bytes() for name in stamps(folder)} == content
    assert sum(len(load_data("kvasir", folder, split=s)) for s in ("train", "val", "test")) == 3


@pytest.mark.parametrize("colours", [((128, 0, 128), (0, 60, 250)), ((90, 0, 90),)])
def test_masks_in_unknown_colours_are_refused_and_not_read_as_empty(colours, source):
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for number, colour in enumerate(colours):
        pixels[2:14, 2 + 16 * number : 14 + 16 * number] = colour
    save(source, f"Kvasir-SEG/masks/{KVASIR[0]}.jpg", Image.fromarray(pixels), quality=95)
    with pytest.raises(ValueError, match=rf"(?s)2 of 3.*masks/{KVASIR[0]}.*one binary mask per"):
        run(source)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_a_mask_of_one_colour_is_one_in_whatever_mode(mode):
    drawing = outline(4, 4, 20, 20)
    if mode != "L":
        yellow = Image.new("RGB", drawing.size, (255, 255, 0))
        black = Image.new("RGB", drawing.size)
        drawing = Image.composite(yellow, black, drawing).convert(mode)
    assert of_one_colour(drawing).sum() == 16 * 16


def test_a_mask_without_image_is_refused_before_anything_is_written(source):
    (source / "Kvasir-SEG" / "images" / f"{KVASIR[1]}.jpg").unlink()
    with pytest.raises(ValueError, match=rf"a mask for every image(?s:.*){KVASIR[1]}.*: no image"):
        run(source)
    assert not (source.parent / "out").exists()


def test_a_wrong_archive_is_called_what_it_is(source):
    path = as_zip(source, source.parent / "download.zip")
    with pytest.raises(ValueError, match=r"looks like kvasir: palpate data prepare kvasir"):
        prepare("busi", path, source.parent / "out")
    official.pranet(source / "more")
    with pytest.raises(ValueError, match=r"got them in .*kvasir.*|not one of the data sets"):
        prepare("busi", source / "more" / "TestDataset" / "CVC-300" / "images", source.parent / "o")
    with pytest.raises(ValueError, match=r"Expected a data set among .*Did you mean 'kvasir'"):
        prepare("kvasr", path, source.parent / "out")
    (source / "notes").mkdir()
    (source / "notes" / "read.me").touch()
    for name in ("busi", "auto"):
        with pytest.raises(ValueError, match=r"pairs \(a folder of images .*coco .*mask2d"):
            prepare(name, source / "notes", source.parent / "out")
    assert not (source.parent / "out").exists()


def test_kvasir_under_other_names_is_told_what_names_are_expected(source):
    for path in (source / "Kvasir-SEG").rglob("*.jpg"):
        path.rename(path.with_stem(f"polyp{path.stem[:5]}"))
    with pytest.raises(
        ValueError, match=r"JPEG files named like cju0qkwl35piu0993l0dewei2\.jpg in"
    ):
        run(source)


def test_an_archive_of_archives_is_told_to_be_unpacked(source):
    inner = as_zip(source, source.parent / "inner.zip")
    (source.parent / "outer").mkdir()
    inner.rename(source.parent / "outer" / "inner.zip")
    outer = as_zip(source.parent / "outer", source.parent / "outer.zip")
    with pytest.raises(ValueError, match=r"archives in it such as inner.zip \(unpack these\)"):
        prepare("kvasir", outer, source.parent / "out")


def test_a_place_that_cannot_be_written_is_told(source):
    (source.parent / "file").write_text("in the way")
    with pytest.raises(PermissionError, match=r"can be written, got .*Choose another --out"):
        prepare("kvasir", source, source.parent / "file" / "out")


def test_folders_that_are_not_palpates_are_left_alone(source):
    folder = source.parent / "out" / "kvasir_polyp"
    (folder / "anns").mkdir(parents=True)
    with pytest.raises(FileExistsError, match=r"without dataset.json. Choose another --out"):
        run(source)
    (folder / "dataset.json").write_text(json.dumps({"name": "busi", "records": []}))
    with pytest.raises(ValueError, match=r"Expected kvasir in .*kvasir_polyp, got busi"):
        run(source)
    (folder / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match=r"dataset.json, but it cannot be read .*Delete"):
        run(source)


@pytest.mark.parametrize("out", [".", "Kvasir-SEG/images", ".."])
def test_source_and_output_are_apart(out, source):
    inside = source if out != ".." else source / "out" / "kvasir_polyp" / "deeper"
    official.kvasir(inside)
    with pytest.raises(ValueError, match="Expected source and output apart"):
        prepare("kvasir", inside, source / "out" if out == ".." else source / out)


def test_two_processes_do_not_prepare_one_folder(source):
    folder = run(source)
    with (
        FileLock(folder / ".lock"),
        pytest.raises(RuntimeError, match="Another process is preparing"),
    ):
        run(source)


def test_senseless_workers_are_refused(source):
    with pytest.raises(ValueError, match="workers >= 1, got 0"):
        run(source, workers=0)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("shape", ["as stored", "upright", "labelled", "small"])
@pytest.mark.parametrize(
    "size", [(WIDTH, HEIGHT), pytest.param((HEIGHT, HEIGHT), marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore:.*masks have no EXIF orientation")
def test_turned_images_keep_their_bytes_and_their_masks(turn, shape, size, source):
    """Whatever EXIF says: what is loaded from the output is what is read from the source."""
    exif = Image.Exif()
    exif[_ORIENTATION] = turn
    top = source / "Kvasir-SEG"
    save(top, f"images/{KVASIR[0]}.jpg", picture(0, size), exif=exif, quality=95)
    stored = size[::-1] if shape == "upright" and turn > 4 else size
    drawing = outline(2, 2, stored[0] // 2, stored[1] // 3, stored)
    if shape == "small":
        drawing = drawing.resize((size[0] // 2, size[1] // 2))
    options = {"exif": exif} if shape == "labelled" else {}
    save(top, f"masks/{KVASIR[0]}.jpg", drawing, quality=95, **options)
    folder = run(source)
    before = read_pair(top / "images" / f"{KVASIR[0]}.jpg", top / "masks" / f"{KVASIR[0]}.jpg")
    after = read_pair(folder / image(0), folder / mask(0))
    assert_close(after[0], before[0], rtol=0, atol=0)
    assert (after[1] == before[1]).all()
    with Image.open(folder / image(0)) as one, Image.open(folder / mask(0)) as other:
        assert one.size == other.size


def test_what_exif_leaves_open_is_said_once(source):
    exif = Image.Exif()
    exif[_ORIENTATION] = 3
    for number in (0, 1):
        save(source, f"Kvasir-SEG/images/{KVASIR[number]}.jpg", picture(number), exif=exif)
    with pytest.warns(UserWarning, match=r"2 masks have no EXIF orientation .*Look at one"):
        run(source)


def test_prompts_facts_and_a_card_are_written(tmp_path):
    official.busi(tmp_path / "source")
    folder = prepare("busi", tmp_path / "source", tmp_path / "out", workers=1)
    summary = json.loads((folder / "dataset.json").read_text())
    assert summary["name"] == "busi"
    assert summary["card"]["counts"] == {"all": 780}
    assert sum(summary["counts"].values()) == summary["images"] == 4
    prompts = {each["mask_name"]: each["entry"]["prompts"] for each in summary["records"]}
    assert prompts["1_benign.png"]["p0"] == ""
    assert "benign" in str(prompts["1_benign.png"]["p2"])
    assert prompts["1_normal.png"]["p1"].startswith("no ")


def test_the_command_line_prepares_and_reports_errors_in_a_line(source, capsys):
    out = str(source.parent / "out")
    main(["data", "prepare", "kvasir", "--source", str(source), "--out", out])
    printed = capsys.readouterr()
    assert printed.out.strip() == str(source.parent / "out" / "kvasir_polyp")
    assert "prepare kvasir: 3/3" in printed.err
    with pytest.raises(SystemExit, match=r"^palpate: Expected .*BUSI.*looks like kvasir"):
        main(["data", "prepare", "busi", "--source", str(source), "--out", out])
    with pytest.raises(SystemExit, match=r"^palpate: .* with --options structure TEXT"):
        main(["data", "prepare", "pairs", "--source", str(source), "--out", out])
    options = ["--options", "structure", "polyp"]
    main(["data", "prepare", "pairs", "--source", str(source), "--out", out, *options])


def item(image_name="a.png", mask_name=None, **fields):
    values = {
        "group": image_name, "structure": "x", "split": None, "members": (),
        "read_image": lambda: None, "read_mask": lambda: None,
    } | fields  # fmt: skip
    return Item(image_name, mask_name or image_name, **values)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([item(), item()], "differ in more than upper and lower case(?s:.*)a.png and a.png"),
        ([item("a.png"), item("A.png")], "a.png and A.png"),
        ([item("../a.png")], "'../a.png' leads outside"),
        ([item(mask_name="C:/a.png")], "'C:/a.png' leads outside"),
        ([item(mask_name="a.jpg")], "'a.jpg' does not end in .png"),
        ([item(split="dev")], "'dev' is none of train, val, test"),
        (
            [item("a.png", group="g", split="train"), item("b.png", group="g", split="test")],
            "one split, got some in several(?s:.*)g: train and test",
        ),
        ([item(original="x"), item(mask_name="b.png", original="y")], "a.png"),
    ],
)
def test_items_that_cannot_be_written_are_refused(items, message):
    with pytest.raises(ValueError, match=message):
        check_items(items)
