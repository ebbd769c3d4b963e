import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from palpate.data import batches, cached, load_data, stream
from palpate.data.annotations import FileEntry
from palpate.data.cache import _load

from .conftest import noise, rectangle, save


@pytest.fixture
def folder(data_folder):
    """Images of two sizes, grey of 16 bits, and a lossy mask."""
    data_folder.add("c.png", size=(7, 5))
    data_folder.add("deep.png", files=False)
    deep = np.random.default_rng(0).integers(0, 65536, (8, 12)).astype(np.uint16)
    save(data_folder.path / "images" / "deep.png", Image.fromarray(deep))
    save(data_folder.path / "masks" / "deep.png", rectangle((12, 8)))
    return data_folder.write()


def load(folder, **options):
    return load_data("folder", folder.path, check=False, **options)


def equal(one, other):
    assert one.case == other.case
    assert_close(one.image, other.image, rtol=0, atol=0)
    assert torch.equal(one.mask, other.mask)


def no_decoding(monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("palpate.data.annotations.read_pair", refuse)


@pytest.mark.parametrize("size", [None, 6])
def test_what_is_kept_equals_what_is_decoded(size, folder, tmp_path, monkeypatch):
    plain = [*load(folder, size=size)]
    data = load(folder, size=size, cache=tmp_path / "cache")
    for index, sample in enumerate(plain):
        equal(data[index], sample)
    no_decoding(monkeypatch)
    for index, sample in enumerate(plain):
        equal(data[index], sample)


def test_nothing_is_read_twice_and_other_sizes_are_other_entries(folder, tmp_path, monkeypatch):
    data = load(folder, cache=tmp_path / "cache", size=6)
    assert len([*data]) == 4
    assert data[0].image.shape == (3, 6, 6)
    assert load(folder, cache=tmp_path / "cache", size=4)[0].image.shape == (3, 4, 4)
    no_decoding(monkeypatch)
    with pytest.raises(AssertionError, match="decoded"):
        _ = load(folder, cache=tmp_path / "cache", size=5)[0]


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_changed_file_is_decoded_again(kind, folder, tmp_path):
    data = load(folder, cache=tmp_path / "cache")
    before = data[0]
    save(
        folder.path / kind / "a.png",
        noise((12, 8), 9) if kind == "images" else Image.new("L", (12, 8)),
    )
    after = load(folder)[0]
    equal(data[0], after)
    assert not (torch.equal(before.image, after.image) and torch.equal(before.mask, after.mask))


def kept(tmp_path):
    return sorted((tmp_path / "cache").rglob("*.sample"))


@pytest.mark.parametrize(
    "damage", ["bit", "mask bit", "short", "empty", "header", "foreign", "size"]
)
def test_damaged_entries_are_made_anew(damage, folder, tmp_path):
    data = load(folder, cache=tmp_path / "cache", limit=1)
    sample = data[0]
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    broken = bytearray(whole)
    if damage == "bit":
        broken[50] ^= 1
    if damage == "mask bit":
        broken[-1] ^= 1
    if damage == "header":
        broken[8] ^= 1
    if damage == "size":
        broken[13:17], broken[17:21] = broken[17:21], broken[13:17]
    shorter = {"short": whole[:-1], "empty": b"", "foreign": b"nothing of ours"}
    path.write_bytes(shorter.get(damage, bytes(broken)))
    assert _load(path) is None
    equal(data[0], sample)
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_slows_work_and_says_so(folder, tmp_path, monkeypatch):
    data = load(folder, cache=tmp_path / "cache", limit=1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.warns(UserWarning, match=r"kept in the cache .*cache \(.*No space left"):
        equal(data[0], load(folder)[0])
    assert not [*(tmp_path / "cache").rglob("*.*")]


def test_a_file_in_place_of_the_folder_is_refused(folder, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(NotADirectoryError, match="Expected a folder for the cache"):
        load(folder, cache=tmp_path / "cache")


def test_phantoms_stay_as_they_are(tmp_path):
    data = load_data("phantom-endoscopy", size=32, limit=2)
    assert cached(data, tmp_path / "cache").entries == data.entries


def test_all_that_is_known_of_a_sample_stays_known(folder, tmp_path):
    plain, data = load(folder, prompt="all"), load(folder, prompt="all", cache=tmp_path / "cache")
    assert data.cases == plain.cases
    assert data.texts == plain.texts
    told = [name for name in vars(FileEntry) if isinstance(vars(FileEntry)[name], property)]
    for name in (*told, "image_name", "mask_name", "prompts", "group", "structure", "facts"):
        assert getattr(data.entries[0], name) == getattr(plain.entries[0], name)
    assert_close(data.soft_mask(0), plain.soft_mask(0))
    equal(pickle.loads(pickle.dumps(data))[1], plain[1])
    assert [c.key for c in data.with_epoch(3).cases] == [c.key for c in plain.with_epoch(3).cases]


def fill(root, cache):
    for sample in load_data("folder", root, size=6, cache=cache, check=False):
        assert sample.image.shape == (3, 6, 6)


def test_several_processes_may_fill_one_folder(folder, tmp_path):
    context = multiprocessing.get_context("fork")
    crowd = [context.Process(target=fill, args=(folder.path, tmp_path / "cache")) for _ in range(4)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * 4
    assert len(kept(tmp_path)) == 4
    assert all(_load(path) is not None for path in kept(tmp_path))
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sorted(files) == sorted(kept(tmp_path))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_give_the_same_samples_in_the_order_asked_for(workers, folder, tmp_path):
    data = load(folder, cache=tmp_path / "cache")
    state = torch.get_rng_state()
    for sample, index in zip(stream(data, [2, 0, 3], workers), [2, 0, 3], strict=True):
        equal(sample, load(folder)[index])
    assert torch.equal(torch.get_rng_state(), state)


def test_batches_of_workers_are_those_without(folder):
    data = load(folder)
    for one, other in zip(batches(data, 2), batches(data, 2, workers=1), strict=True):
        assert one.cases == other.cases
        assert torch.equal(one.images, other.images)


def test_workers_read_ahead_so_far_and_stop_when_nobody_asks_any_more():
    asked = []

    class Numbers:
        def __len__(self):
            return 100

        def __getitem__(self, index):
            asked.append(index)
            return index

    read = stream(Numbers(), workers=2, ahead=5)
    assert asked == []
    assert next(read) == 0
    assert len(asked) <= 6
    read.close()
    assert len(asked) <= 6
    assert list(stream(Numbers(), workers=3)) == list(range(100))


def test_errors_of_workers_name_the_file(data_folder):
    folder = data_folder.write()
    data = load(folder)
    (folder.path / "images" / "b.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"readable image in .*b\.png"):
        [*stream(data, workers=1)]
    with pytest.raises(ValueError, match="workers >= 0"):
        stream(data, workers=-1)
