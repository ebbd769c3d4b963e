from dataclasses import replace

import pytest
import torch

from palpate.evaluation.batches import list_cases, load, select, windows

from .blobs import blob, blobs

CPU = torch.device("cpu")


@pytest.mark.parametrize(("count", "size"), [(1, 1), (7, 3), (8, 4), (3, 8)])
def test_windows_cover_everything_once_and_in_order(count, size):
    parts = [list(window) for window in windows(count, size)]
    assert [index for part in parts for index in part] == list(range(count))
    assert all(len(part) == size for part in parts[:-1])


def test_a_window_is_parted_by_size_and_nothing_else():
    data = [blob(0), blob(1, 24, 20), blob(2), blob(3, 20, 24)]
    cases = list_cases(data)
    batches = list(load(data, cases, [range(4)], CPU))
    assert [batch.keys for batch in batches] == [("k0", "k2"), ("k1",), ("k3",)]
    assert torch.equal(batches[0].images[1], data[2].image)
    assert torch.equal(batches[0].masks[1], data[2].mask)


@pytest.mark.parametrize("workers", [0, 3])
def test_windows_follow_one_another_whoever_reads_them(workers):
    data = blobs(5)
    batches = load(data, list_cases(data), [[4, 0], [], [2]], CPU, workers)
    assert [batch.keys for batch in batches] == [("k4", "k0"), ("k2",)]


def test_selecting_keeps_images_masks_and_prompts_together():
    (batch,) = load(blobs(4), list_cases(blobs(4)), [range(4)], CPU)
    some = select(batch, [2, 1, 0])
    assert some.prompts == (blob(2).case.prompt, blob(1).case.prompt, blob(0).case.prompt)
    for position, index in enumerate([2, 1, 0]):
        assert torch.equal(some.images[position], blob(index).image)
        assert torch.equal(some.masks[position], blob(index).mask)
    assert select(batch, range(4)) is batch


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("image", lambda x: x.bfloat16(), "type float32, image 'k0' is torch.bfloat16"),
        ("image", lambda x: x.half(), "type float32, image 'k0' is torch.float16"),
        ("image", lambda x: (x * 255).byte(), r"in \[0, 1\], image 'k0' has values in \["),
        ("mask", lambda x: x.float(), "that of 'k0' is torch.float32 of shape"),
        ("mask", lambda x: x.byte() * 255, "that of 'k0' is torch.uint8 of shape"),
        ("mask", lambda x: x[:, 1:], r"shape \(1, 20, 20\), that of 'k0' is .* \(1, 19, 20\)"),
    ],
)
def test_samples_of_another_kind_are_named(name, change, message):
    data = blobs(1)
    object.__setattr__(data[0], name, change(getattr(data[0], name)))  # behind the type checks
    with pytest.raises(ValueError, match=message):
        list(load(data, [data[0].case], [[0]], CPU))


def test_cases_are_not_loaded_where_they_are_announced():
    class Announced(list):
        cases = tuple(sample.case for sample in blobs(3))

        def __getitem__(self, index):
            raise AssertionError("loaded")

    assert list_cases(Announced(blobs(3))) == list(Announced.cases)


def test_one_key_may_have_several_prompts():
    twice = [blob(0), replace(blob(0), case=replace(blob(0).case, prompt="lump"))]
    assert len(list_cases(twice)) == 2
