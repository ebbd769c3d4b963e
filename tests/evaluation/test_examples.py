from dataclasses import replace

import numpy as np
import pytest
import torch
from blobs import blob
from test_rows import ROW

from palpate.evaluation import ExampleStore, read_examples


def cases(*groups):
    return [replace(blob(i).case, key=f"{g}{i}", group=g) for i, g in enumerate(groups)]


@pytest.mark.parametrize(
    ("count", "groups", "chosen"),
    [
        (2, "aabbcc", {"a0", "b2"}),
        (4, "abcdefgh", {"a0", "c2", "e4", "g6"}),
        (4, "aaab", {"a0", "b3", "a1", "a2"}),
        (9, "ab", {"a0", "b1"}),
        (0, "ab", set()),
    ],
)
def test_examples_are_spread_over_the_groups(count, groups, chosen, tmp_path):
    assert ExampleStore(tmp_path, count).choose(cases(*groups)) == chosen


def test_an_example_comes_back_bit_for_bit(tmp_path):
    store, mask = ExampleStore(tmp_path / "new"), torch.rand(1, 4, 5) > 0.5
    image, row = torch.rand(3, 4, 5), replace(ROW, key="../a/b", psnr=float("inf"))
    path = store.save(row, image, mask, ~mask)
    assert path.parent == tmp_path / "new"  # whatever a key looks like
    assert store.has(row.identity)
    (example,) = read_examples(tmp_path / "new")
    assert example.row == row
    np.testing.assert_array_equal(example.image, image.numpy())
    np.testing.assert_array_equal(example.mask, mask[0].numpy())
    np.testing.assert_array_equal(example.prediction, ~mask[0].numpy())


def test_examples_whose_names_look_alike_are_kept_apart(tmp_path):
    store, mask = ExampleStore(tmp_path), torch.zeros(1, 4, 5, dtype=torch.bool)
    rows = [replace(ROW, key=key) for key in ("a/b", "a_b")]
    rows += [replace(ROW, epsilon=ROW.epsilon + 1e-9), replace(ROW, prompt="lump")]
    for row in rows:
        store.save(row, torch.zeros(3, 4, 5), mask, mask)
    assert {example.row for example in read_examples(tmp_path)} == set(rows)


def test_a_missing_folder_holds_no_examples(tmp_path):
    assert read_examples(tmp_path / "none") == []
    assert not ExampleStore(tmp_path / "none").has(ROW.identity)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file"])
def test_a_damaged_example_is_named(content, tmp_path):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz is no example of palpate or is damaged"):
        read_examples(tmp_path)


def test_nothing_pickled_is_opened(tmp_path):
    np.savez(tmp_path / "x.npz", row=np.array([object()]))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_examples(tmp_path)
