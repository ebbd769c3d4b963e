"""Ignored pixels count in no attack, score or loss."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from palpate import evaluate
from palpate.attacks import LOSSES, ddn, fgsm, noise, pgd, square, transfer
from palpate.attacks.text import TEXT_ATTACKS
from palpate.data.sample import collate
from palpate.evaluation import Medis
from palpate.evaluation.metrics import METRICS, MetricInputs
from palpate.evaluation.universal import fit_universal_on
from palpate.prompting import Bound, without_ignored

from .blobs import BlobFinder, blob, blobs

SIDE = 20
SCORES = ["dsc", "iou", "miou", "hd95", "nsd", "precision", "recall"]
RIGHT = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
RIGHT[:, :, 10:] = True


class Pixels(torch.nn.Module):
    """A logit for each pixel from this pixel alone."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(30.0))

    def forward(self, images, prompts):
        sign = torch.tensor([1.0 if "bright" in p else -1.0 for p in prompts]).view(-1, 1, 1, 1)
        return sign * self.slope * (images.mean(1, keepdim=True) - 0.5)


def partly(index):
    """A sample of which the right half is ignored."""
    return replace(blob(index), ignored=RIGHT)


def test_scores_are_those_of_the_pixels_that_count():
    found = torch.rand(4, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) > 0.4
    masks = torch.stack([blob(index).mask for index in range(4)])
    ignored = RIGHT.expand(4, 1, SIDE, SIDE)
    inputs = MetricInputs(found & ~ignored, masks & ~ignored, ignored=ignored)
    for name in ("dsc", "iou", "miou", "precision", "recall"):
        alone = METRICS[name](found[..., :10].contiguous(), masks[..., :10].contiguous())
        assert torch.equal(METRICS[name].of(inputs), alone), name


def test_outlines_end_together_at_ignored_pixels():
    mask = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    mask[..., 5:15, 5:] = True
    found = mask.clone()
    found[..., 12:] = False  # ends earlier, where nobody looks
    ignored = RIGHT[None]
    inputs = MetricInputs(found & ~ignored, mask & ~ignored, ignored=ignored)
    assert METRICS["hd95"].of(inputs).item() == 0
    assert METRICS["nsd"].of(inputs).item() == 1


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_depends_on_ignored_logits(name):
    batch = collate([partly(0), partly(1)])
    logits = torch.randn(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    other = torch.where(RIGHT, -logits, logits)
    values = [
        LOSSES[name](without_ignored(each, batch.ignored), batch.masks) for each in (logits, other)
    ]
    assert torch.equal(*values)
    logits.requires_grad_()
    loss = LOSSES[name](without_ignored(logits, batch.ignored), batch.masks).sum()
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[..., 10:].abs().max() == 0
    assert loss.isfinite()


def test_a_batch_has_no_foreground_where_it_is_ignored():
    batch = collate([partly(0), blob(2)])
    assert not (batch.masks & batch.ignored).any()
    assert batch.ignored[1].sum() == 0
    assert batch.boxes[0][2] == 0.5  # the box ends at the ignored pixels
    assert collate([blob(0)]).ignored is None


ATTACKS = {
    "noise": noise,
    "fgsm": fgsm,
    "pgd": partial(pgd, steps=3, early_stop=True),
    "square": partial(square, queries=6),
    "transfer": partial(transfer, steps=2, surrogate=Pixels(), diversity=1.0),
}


def test_rows_do_not_depend_on_the_ground_truth_of_ignored_pixels():
    """Attack, scores and loss are the same whatever the mask says there."""
    samples = [partly(index) for index in range(2)]
    other = [replace(each, mask=each.mask ^ RIGHT) for each in samples]
    model, options = BlobFinder(), {"epsilons": [8 / 255], "metrics": SCORES}
    text = {"synonyms": TEXT_ATTACKS["text-typos"]}
    one, two = (
        evaluate(model, each, {**ATTACKS, **text}, **options).drop(columns="seconds")
        for each in (samples, other)
    )
    assert one.equals(two)
    every = evaluate(model, blobs(2), ATTACKS, **options)
    clean = one[one["attack"] == "clean"]
    assert clean["mask_area"].tolist() != every[every["attack"] == "clean"]["mask_area"].tolist()
    assert (clean["loss"] > 0).all()


def test_attacks_spend_nothing_on_ignored_pixels():
    model, batch = Pixels(), collate([partly(0), partly(1)])
    bound = Bound(model, batch.prompts, None, batch.ignored)
    attacked = pgd(bound, batch.images, batch.masks, epsilon=0.1, steps=2, random_start=False)
    moved = (attacked - batch.images).abs().amax(1, keepdim=True)
    assert moved[batch.ignored].max() == 0
    assert moved[~batch.ignored].max() > 0
    assert bound.for_images([1]).ignored.shape == (1, 1, SIDE, SIDE)


def test_minimal_and_universal_attacks_count_the_other_pixels():
    model, samples = Pixels(), [partly(0), partly(1)]
    rows = evaluate(model, samples, {"ddn": partial(ddn, steps=20)})
    assert rows[rows["attack"] == "ddn"]["success"].any()
    flipped = [replace(each, mask=each.mask ^ RIGHT) for each in samples]
    one, two = (fit_universal_on(model, each, epsilon=0.1, epochs=1) for each in (samples, flipped))
    assert torch.equal(one.delta, two.delta)


def test_medis_tables_refuse_ignored_pixels():
    with pytest.raises(ValueError, match="without ignored pixels for MedIS"):
        evaluate(BlobFinder(), [partly(0)], {"medis": Medis(targets=["untargeted"], steps=1)})
