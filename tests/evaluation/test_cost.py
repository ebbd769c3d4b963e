import time

import pytest
import torch

from palpate.attacks import fgsm, noise, pgd
from palpate.evaluation.cost import Metered, Tally

from .blobs import BRIGHT, BlobFinder, blob

IMAGES = torch.stack([blob(0).image, blob(2).image])
MASKS = torch.stack([blob(0).mask, blob(2).mask])


@pytest.mark.parametrize(
    ("attack", "settings", "forwards", "backwards"),
    [
        (noise, {}, 0, 0),
        (fgsm, {}, 1, 1),
        (pgd, {"steps": 7}, 8, 7),
        (pgd, {"steps": 3, "restarts": 2}, 8, 6),
    ],
)
def test_passes_are_counted_per_image_whatever_the_attack(attack, settings, forwards, backwards):
    model = BlobFinder().requires_grad_(False)
    tally = Tally()
    attack(Metered(model, (BRIGHT, BRIGHT), tally), IMAGES, MASKS, epsilon=0.1, **settings)
    assert tally.per_image(2)[:2] == (forwards, backwards)


def test_images_that_finish_early_are_not_charged_for_those_that_do_not():
    seen = []

    def model(images, prompts):
        seen.append(prompts)
        return images.mean(1, keepdim=True)

    tally = Tally()
    metered = Metered(model, ("a", "b", "c"), tally)
    metered(IMAGES[[0, 1, 0]])
    metered.for_images([0, 2]).for_images([1])(IMAGES[:1])
    assert seen == [("a", "b", "c"), ("c",)]
    assert tally.forwards == 4


def test_a_batch_with_the_wrong_number_of_prompts_is_refused():
    with pytest.raises(ValueError, match="Expected 1 images, one per prompt, got 2"):
        Metered(BlobFinder(), (BRIGHT,), Tally())(IMAGES)


def test_early_stopping_works_through_the_meter_and_costs_less():
    def model(images, prompts):
        assert len(prompts) == len(images)
        return images.mean(1, keepdim=True) - 0.5

    easy, hard = (torch.where(MASKS[:1], 0.5 + d, 0.5 - d).expand(1, 3, -1, -1) for d in (0.1, 0.5))
    images, masks = torch.cat([easy, hard]), MASKS[[0, 0]]
    passes = []
    for early_stop in (False, True):
        tally = Tally()
        metered = Metered(model, ("easy", "hard"), tally)
        pgd(metered, images, masks, epsilon=0.3, steps=10, early_stop=early_stop)
        passes.append(tally.forwards)
    assert passes[0] == 22
    assert 11 < passes[1] < 22


def test_seconds_are_those_between_entering_and_leaving():
    with Tally() as tally:
        time.sleep(0.05)
    time.sleep(0.05)
    assert 0.05 <= 2 * tally.per_image(2).seconds < 0.09
