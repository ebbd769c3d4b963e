"""Which iterate comes back, when images stop, and what each pass is used for."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import default_step_size, pgd
from palpate.attacks.losses import bce, bce_dice, margin
from palpate.randomness import generator

STEP = 0.1


class Ledge(torch.nn.Module):
    """Four pixels; walking up from 0.3 in steps of 0.1, the prediction comes and goes.

    ``counts[n]`` pixels, the first ones, are predicted after n steps.
    """

    def __init__(self, *counts: int) -> None:
        super().__init__()
        self.counts = torch.tensor(counts)

    def forward(self, images):
        shade = images.mean((1, 2, 3)).view(-1, 1, 1, 1)
        count = self.counts[((shade.detach() - 0.3) / STEP).round().long()]
        return torch.where(torch.arange(4).view(1, 1, 2, 2) < count, 10.0, -10.0) + shade


def rise(logits, masks):
    """Grows with every step, whatever is predicted."""
    return (logits - 10 * logits.detach().sign()).mean((1, 2, 3))


WALK = partial(pgd, epsilon=0.5, steps=4, step_size=STEP, random_start=False, loss=rise)


def steps_taken(adversarial):
    return ((adversarial.mean((1, 2, 3)) - 0.3) / STEP).round().int().tolist()


@pytest.fixture
def grey():
    return torch.full((2, 3, 2, 2), 0.3)


@pytest.fixture
def full():
    return torch.ones(2, 1, 2, 2, dtype=torch.bool)


@pytest.mark.parametrize(
    ("counts", "keep", "expected"),
    [
        ((4, 3, 1, 2, 3), "dice", 2),  # in the middle
        ((4, 3, 2, 2, 1), "dice", 4),  # the last iterate counts
        ((4, 1, 2, 3, 3), "dice", 1),  # and the first
        ((0, 2, 3, 2, 3), "dice", 3),  # but not the start; equals go by the loss
        ((4, 3, 1, 2, 3), "loss", 4),
        ((4, 3, 1, 2, 3), "last", 4),
    ],
)
def test_keeps_the_iterate_asked_for(counts, keep, expected, grey, full):
    assert steps_taken(WALK(Ledge(*counts), grey, full, keep=keep)) == [expected] * 2


def test_towards_a_target_the_highest_dice_is_kept(grey, full):
    uphill = partial(WALK, targeted=True, loss=lambda z, m: -rise(z, m))
    assert steps_taken(uphill(Ledge(1, 2, 4, 3, 1), grey, full)) == [2, 2]


@pytest.mark.parametrize(("threshold", "expected"), [(0, 2), (100, 4), (-100, 4)])
def test_the_threshold_decides_what_is_foreground(threshold, expected, grey, full):
    kept = WALK(Ledge(4, 3, 1, 2, 3), grey, full, threshold=float(threshold))
    assert steps_taken(kept) == [expected] * 2  # if all or nothing is found, the loss decides


def test_images_choose_their_own_iterate(grey, full):
    masks = full.clone()
    masks[1] = masks[1] & (torch.arange(4).view(1, 2, 2) == 0)  # the more is found the worse
    assert steps_taken(WALK(Ledge(4, 1, 2, 3, 2), grey, masks)) == [1, 3]


def test_on_an_empty_mask_only_the_empty_prediction_is_right(grey, full):
    assert steps_taken(WALK(Ledge(0, 0, 2, 1, 0), grey, ~full)) == [3, 3]


@pytest.mark.parametrize("keep", ["dice", "loss", "last"])
def test_restarts_keep_the_best_of_separate_runs(keep, net, images, masks):
    attack = partial(pgd, epsilon=4 / 255, steps=3, keep=keep, loss=bce_dice)
    source = generator(0)
    runs = [attack(net, images, masks, generator=source) for _ in range(3)]
    both = attack(net, images, masks, restarts=3, generator=generator(0))

    def rank(run):
        with torch.no_grad():
            logits = net(run)
        score = dsc(logits, masks) if keep == "dice" else torch.zeros(4)
        return list(zip((-score).tolist(), bce_dice(logits, masks).tolist(), strict=True))

    for image, ranks in enumerate(zip(*map(rank, runs), strict=True)):
        assert torch.equal(both[image], runs[ranks.index(max(ranks))][image])


def dsc(logits, masks, threshold=0.0):
    predictions = logits > threshold
    shared, total = (
        (predictions & masks).sum((1, 2, 3)),
        (predictions.sum((1, 2, 3)) + masks.sum((1, 2, 3))),
    )
    return torch.where(total > 0, 2 * shared / total.clamp_min(1), 1.0)


class Counting(torch.nn.Module):
    """Counts images on the way forward and on the way back."""

    def __init__(self, net) -> None:
        super().__init__()
        self.net, self.forwards, self.backwards, self.traced = net, [], [], []

    def forward(self, images):
        self.forwards.append(len(images))
        logits = self.net(images)
        self.traced.append(logits.requires_grad)
        if logits.requires_grad:
            logits.register_hook(lambda g: self.backwards.append(len(g)))
        return logits


def test_n_steps_cost_n_backward_and_one_more_forward_passes(net, images, masks):
    model = Counting(net)
    pgd(model, images, masks, epsilon=1 / 255, steps=5, restarts=2)
    assert model.forwards == [4] * 12
    assert model.backwards == [4] * 10
    assert model.traced == [*[True] * 5, False] * 2  # the last look needs no memory for gradients


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("per_image", [False, True])
def test_stopping_early_saves_passes_and_changes_no_score(targeted, per_image, model, images):
    masks = model(images) > 0
    masks = model(images + 0.05) > 0 if targeted else masks
    attack = partial(pgd, epsilon=0.3, steps=20, step_size=0.02, restarts=2, targeted=targeted)
    scores, costs = [], []
    for early_stop in (False, True):
        counting = Counting(model)
        random = [generator(0, i) for i in range(4)] if per_image else generator(0)
        adversarial = attack(counting, images, masks, early_stop=early_stop, generator=random)
        scores.append(dsc(model(adversarial), masks))
        costs.append(sum(counting.forwards))
    assert_close(*scores, rtol=0, atol=0)
    finished = (scores[0] == (1 if targeted else 0)).sum()
    assert finished > 0
    assert costs[1] < costs[0]


def test_when_all_have_finished_no_pass_is_made(model, images):
    masks = model(images) > -100
    counting = Counting(model)
    attack = partial(pgd, epsilon=1.0, steps=9, step_size=1.0, restarts=3, random_start=False)
    attack(counting, images, masks, loss=margin, early_stop=True)
    assert counting.forwards == [4, 4]
    assert counting.backwards == [4]


def test_images_without_a_lesion_go_on(net, images, masks):
    masks = torch.zeros_like(masks)  # one stray pixel is DSC 0 already
    attack = partial(pgd, net, images, masks, epsilon=0.1, steps=5, random_start=False)
    assert torch.equal(attack(early_stop=True), attack())


class Prompted(torch.nn.Module):
    """Each prompt is the shift of its image's logits."""

    def __init__(self, net) -> None:
        super().__init__()
        self.net = net

    def forward(self, images, prompts):
        return self.net(images) + torch.tensor(list(map(float, prompts))).view(-1, 1, 1, 1)


class Bound:
    """The same for a wrapper that no library knows."""

    def __init__(self, model, prompts) -> None:
        self.model, self.prompts = model, prompts

    def __call__(self, images):
        return self.model(images, self.prompts)

    def for_images(self, rows):
        return Bound(self.model, [self.prompts[row] for row in rows])


@pytest.mark.parametrize("bind", [lambda m, p: partial(m, prompts=p), Bound])
def test_prompts_stay_with_their_images_when_others_finish(bind, net, images):
    prompts = ["-9", "9", "-20", "0"]  # with 9 added to its logits the second never falls
    masks = net(images) > 0
    settings = {"epsilon": 0.1, "steps": 10, "restarts": 2, "early_stop": True}
    together = pgd(
        bind(Prompted(net), prompts),
        images,
        masks,
        generator=[generator(0, i) for i in range(4)],
        **settings,
    )
    for i in range(4):
        here = slice(i, i + 1)
        model = bind(Prompted(net), prompts[here])
        alone = pgd(model, images[here], masks[here], generator=[generator(0, i)], **settings)
        assert_close((together - images)[here], alone - images[here], rtol=0, atol=1e-5)


def test_default_step_size():
    assert default_step_size(8 / 255, 40, "linf") == 1 / 255
    assert default_step_size(8 / 255, 5, "linf") == 4 / 255
    assert default_step_size(8 / 255, 1, "linf") == 8 / 255
    assert default_step_size(0.5 / 255, 40, "linf") == 0.5 / 255
    assert default_step_size(1.0, 40, "l2") == 2.5 / 40


def test_the_default_step_size_is_used(net, images, masks):
    attack = partial(pgd, net, images, masks, epsilon=8 / 255, steps=5, generator=None)
    results = [attack(random_start=False, step_size=size) for size in (None, 4 / 255)]
    assert torch.equal(*results)


def test_more_steps_harm_more(net, images, masks):
    harm = [
        bce(net(pgd(net, images, masks, epsilon=0.05, steps=n, loss=bce, keep="loss",
                    random_start=False, step_size=0.01)), masks)
        for n in (1, 3, 10)
    ]  # fmt: skip
    assert (harm[0] < harm[1]).all()
    assert (harm[1] < harm[2]).all()
