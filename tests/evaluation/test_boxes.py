"""Which models are given boxes, wherever a model is called with the prompts of a batch."""

from functools import partial

import pytest
import torch

from palpate import evaluate, wrap
from palpate.attacks import bpda, eot, pgd, transfer
from palpate.attacks.text import TEXT_ATTACKS
from palpate.data import boxes_of, collate
from palpate.evaluation import Joint, Medis
from palpate.evaluation.sanity import sanity_card
from palpate.evaluation.sanity.subject import moved
from palpate.evaluation.universal import fit_universal_on
from palpate.prompting import wants_boxes

from .blobs import BlobFinder, blobs

DATA = blobs(3)
BOXES = set(boxes_of(torch.stack([sample.mask for sample in DATA])))


class Boxed(BlobFinder):
    """Declares that it wants boxes, and notes those it was given."""

    wants_boxes = True

    def __init__(self):
        super().__init__()
        self.given = []

    def forward(self, images, prompts, boxes):
        assert len(boxes) == len(images)
        self.given += boxes
        return super().forward(images, prompts)


class Unboxed(BlobFinder):
    """Takes whatever comes, and notes it."""

    def __init__(self):
        super().__init__()
        self.prompts, self.others = [], []

    def forward(self, images, prompts, **others):
        self.prompts += prompts
        self.others += others
        return super().forward(images, prompts)


def attacks(surrogate):
    return {
        "pgd": partial(pgd, epsilon=0.1, steps=2, early_stop=True),
        "eot": lambda model, images, masks, epsilon=0.1: pgd(
            eot(model, 2), images, masks, epsilon=epsilon, steps=1
        ),
        "transfer": partial(transfer, epsilon=0.1, steps=1, surrogate=surrogate),
    }


def call_in_every_way(model, surrogate):
    evaluate(model, DATA, attacks(surrogate), batch_size=2)
    evaluate(bpda(torch.round, model), DATA, attacks(surrogate), precision="bf16")
    text = TEXT_ATTACKS["text-typos"]
    both = Joint(partial(pgd, epsilon=0.1, steps=1), text)
    medis = Medis(targets=["untargeted"], losses=["bce"], steps=1)
    evaluate(model, DATA, {"text": text, "both": both, "medis": medis})
    fit_universal_on(model, DATA, epsilon=0.1, batch_size=2, epochs=1)
    sanity_card(None, model, DATA, epsilon=0.1, steps=2)


def test_a_model_that_wants_boxes_is_given_those_of_the_true_masks():
    model, surrogate = Boxed(), Boxed()
    call_in_every_way(model, surrogate)
    # The sanity card moves images, and the boxes with them.
    elsewhere = {box for sample in DATA for box in moved(collate([sample])).boxes}
    assert set(surrogate.given) == BOXES
    assert set(model.given) == BOXES | elsewhere


@pytest.mark.parametrize("kind", ["module", "function"])
def test_no_other_model_is_given_any_and_prompts_are_plain_texts(kind):
    model, boxed = Unboxed(), Boxed()
    victim = model if kind == "module" else lambda images, **asked: model(images, **asked)
    call_in_every_way(victim, boxed)  # a surrogate that wants them gets them all the same
    assert model.others == []
    assert {type(prompt) for prompt in model.prompts} == {str}
    assert set(boxed.given) == BOXES


def test_a_wrapped_network_reads_plain_texts():
    seen = []

    def network(pixels, texts):
        seen.extend(texts)
        return pixels.mean(1, keepdim=True)

    evaluate(wrap(network, prompted=True), DATA, {"pgd": partial(pgd, epsilon=0.1, steps=1)})
    assert {type(text) for text in seen} == {str}


def test_a_declaration_is_seen_through_wrappers():
    boxed = Boxed()
    parallel = torch.nn.Module()
    parallel.module = boxed  # as DistributedDataParallel keeps it
    assert all(map(wants_boxes, (boxed, partial(boxed), parallel, bpda(torch.round, boxed))))
    assert not any(map(wants_boxes, (BlobFinder(), len, bpda(torch.round, BlobFinder()))))
