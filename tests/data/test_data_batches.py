import pytest
import torch

from palpate.data import Case, Sample, batches, collate


def sample(key, height=4, width=4):
    case = Case(key, "folder", "test", key, "foreground", key, "lesion", "p1")
    return Sample(case, torch.rand(3, height, width), torch.rand(1, height, width) > 0.5)


SAMPLES = [sample("a"), sample("b"), sample("c"), sample("d", 4, 6), sample("e")]


def test_groups_consecutive_samples_of_one_size_in_order():
    made = list(batches(SAMPLES, 2))
    assert [batch.keys for batch in made] == [("a", "b"), ("c",), ("d",), ("e",)]
    assert made[0].images[1].equal(SAMPLES[1].image)
    assert made[2].masks.shape == (1, 1, 4, 6)


def test_takes_the_indices_it_is_given():
    made = list(batches(SAMPLES, 8, indices=iter([4, 0])))
    assert [batch.keys for batch in made] == [("e", "a")]


def test_reads_no_further_than_it_must():
    class Counting(list):
        read = 0

        def __getitem__(self, index):
            self.read += 1
            return super().__getitem__(index)

    data = Counting(SAMPLES)
    made = batches(data, 2)
    assert data.read == 0
    next(made)
    assert data.read == 2


def test_nothing_gives_no_batch():
    assert list(batches([], 2)) == []


def test_refuses_an_empty_batch_size():
    with pytest.raises(ValueError, match="batch_size >= 1, got 0"):
        batches(SAMPLES, 0)


def test_collate_refuses_mixed_sizes_and_says_what_to_do():
    with pytest.raises(ValueError, match=r"\[\(4, 4\), \(4, 6\)\].*size=.*batches"):
        collate([SAMPLES[0], SAMPLES[3]])
    with pytest.raises(ValueError, match="got no sample"):
        collate([])
