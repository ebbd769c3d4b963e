"""Memory: what an evaluation holds does not grow with the data, and too little is survived."""

import gc
import weakref
from functools import partial

import torch
from pandas.testing import assert_frame_equal
from torch.testing import assert_close

from palpate.attacks import fgsm, pgd
from palpate.evaluation import evaluate, fit_universal_on
from palpate.evaluation.sanity import card_from_model
from palpate.oom import Portions

from .blobs import BlobFinder, blob, blobs


class Watched:
    """Samples made when asked for; says how many of their images are alive at once."""

    def __init__(self, count):
        self.cases = [sample.case for sample in blobs(count)]
        self.alive = weakref.WeakSet()
        self.most = 0

    def __len__(self):
        return len(self.cases)

    def __getitem__(self, index):
        self.most = max(self.most, len(self.alive) + 1)
        sample = blob(index)
        self.alive.add(sample.image)
        return sample


def test_images_are_let_go_when_their_batch_is_done():
    most = []
    for count in (4, 16):
        data = Watched(count)
        attacks = {"fgsm": fgsm, "pgd": partial(pgd, steps=2)}
        evaluate(BlobFinder(), data, attacks, epsilons=[0.1], batch_size=2)
        most.append(data.most)
    assert most[0] == most[1] <= 4


def test_no_tensor_outlives_an_evaluation():
    def tensors():
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    model, data = BlobFinder(), blobs(4)
    evaluate(model, data, {"fgsm": fgsm}, epsilons=[0.1])
    before = tensors()
    evaluate(model, data, {"fgsm": fgsm, "pgd": partial(pgd, steps=2)}, epsilons=[0.1])
    assert tensors() == before


class Narrow(BlobFinder):
    """Holds two images at a time and no more."""

    def forward(self, images, prompts):
        if len(images) > 2:
            raise torch.cuda.OutOfMemoryError
        return super().forward(images, prompts)


def test_too_little_memory_halves_the_batches_of_an_evaluation_and_changes_nothing():
    attacks = {"pgd": partial(pgd, steps=3)}
    press = partial(evaluate, data=blobs(5), attacks=attacks, epsilons=[0.1], batch_size=5)
    ours, theirs = (press(model).drop(columns="seconds") for model in (Narrow(), BlobFinder()))
    assert_frame_equal(ours, theirs, check_exact=False, rtol=0, atol=1e-5)


def test_too_little_memory_halves_the_batches_of_a_fit_and_changes_nothing():
    fit = partial(fit_universal_on, data=blobs(5), epsilon=0.1, batch_size=5, epochs=2)
    ours, theirs = (fit(model).delta for model in (Narrow(), BlobFinder()))
    assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_too_little_memory_is_not_blamed_on_the_model():
    cards = [
        card_from_model(model, blobs(4), epsilon=0.1, steps=2, batch_size=4)
        for model in (Narrow(), BlobFinder())
    ]
    statuses = [[check.status for check in card] for card in cards]
    assert statuses[0] == statuses[1]


def test_portions_keep_the_order_and_remember_what_did_not_fit():
    tried = []

    def work(positions):
        tried.append(len(positions))
        if len(positions) > 3:
            raise torch.cuda.OutOfMemoryError
        return [10 * position for position in positions]

    portions = Portions(largest=8)
    assert portions.run(work, range(9)) == [10 * position for position in range(9)]
    assert tried == [8, 4, 2, 2, 2, 2, 1]
    assert portions.run(work, []) == []
