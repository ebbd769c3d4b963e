"""Image and text together are never weaker than either alone."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import fgsm, pgd
from palpate.attacks.text import (
    TEXT_ATTACKS,
    PromptSource,
    TextAttack,
    View,
    attack_text,
    embedding,
    joint,
)
from palpate.overlap import count, dice

EPSILON = 2 / 255
PGD = partial(pgd, epsilon=EPSILON, steps=4)


def harm(model, images, masks, prompt):
    return View(model, images, masks).harm([prompt])


@pytest.mark.parametrize(
    ("name", "rounds"),
    [
        ("text-synonyms", 2),
        ("text-hotflip", 1),
        *(
            pytest.param(name, rounds, marks=pytest.mark.slow)
            for name in ("text-synonyms", "text-typos", "text-others", "text-hotflip")
            for rounds in (1, 2)
            if (name, rounds) not in {("text-synonyms", 2), ("text-hotflip", 1)}
        ),
    ],
)
def test_both_are_never_weaker_than_either(name, rounds, model, pixels, mask, source, random):
    text_attack = TEXT_ATTACKS[name]
    pair = joint(
        model, pixels, mask, source,
        image_attack=PGD, text_attack=text_attack, rounds=rounds, generator=random(),
    )  # fmt: skip
    text = attack_text(text_attack, View(model, pixels, mask), source, generator=random())
    image = PGD(partial(model, prompts=[source.prompt]), pixels, mask, generator=[random()])
    assert pair.dsc <= text.dsc
    assert pair.dsc <= harm(model, image, mask, source.prompt).dsc.item()


def test_the_image_is_attacked_under_its_own_prompt_too(model, pixels, mask, source, random):
    def loyal(bound, images, masks):
        """Spoils the image for its own prompt alone."""
        return 1 - images if bound.keywords["prompts"] == [source.prompt] else images

    spoilt = harm(model, 1 - pixels, mask, source.prompt).dsc.item()
    harmless = TextAttack(lambda source: [source.prompt + " "], "benign")
    pair = joint(
        model, pixels, mask, source, image_attack=loyal, text_attack=harmless, generator=random()
    )
    assert pair.dsc <= spoilt < 1
    assert torch.equal(pair.images, 1 - pixels)


def test_the_pair_does_what_is_claimed_and_stays_in_the_ball(model, pixels, mask, source, random):
    pair = joint(
        model, pixels, mask, source,
        image_attack=PGD, text_attack=TEXT_ATTACKS["text-typos"], generator=random(),
    )  # fmt: skip
    with torch.no_grad():
        logits = model(pair.images, [pair.prompt])
    assert_close(dice(count(logits > 0, mask)).item(), pair.dsc)
    assert 0 < (pair.images - pixels).abs().max() <= EPSILON * (1 + 1e-6)
    assert pair.prompt != source.prompt


def test_together_they_do_more_than_the_better_of_both(model, pixels, mask, source, random):
    text_attack = TEXT_ATTACKS["text-typos"]
    pair = joint(
        model, pixels, mask, source, image_attack=PGD, text_attack=text_attack, generator=random()
    )
    text = attack_text(text_attack, View(model, pixels, mask), source, generator=random())
    image = PGD(partial(model, prompts=[source.prompt]), pixels, mask, generator=[random()])
    alone = min(text.dsc, harm(model, image, mask, source.prompt).dsc.item())
    assert pair.dsc < alone - 0.005


def test_it_is_reproducible_and_leaves_the_generator_alone(model, pixels, mask, source, random):
    shared = random()
    state = shared.get_state()
    pairs = [
        joint(
            model, pixels, mask, source,
            image_attack=PGD, text_attack=TEXT_ATTACKS["text-typos"], generator=shared,
        )
        for _ in range(2)
    ]  # fmt: skip
    assert torch.equal(pairs[0].images, pairs[1].images)
    assert pairs[0][1:] == pairs[1][1:]
    assert torch.equal(shared.get_state(), state)


def test_an_attack_gets_what_it_names_and_no_more(model, pixels, mask, source, random):
    def modest(model, images, masks):
        return fgsm(model, images, masks, epsilon=EPSILON)

    pair = joint(
        model, pixels, mask, source,
        image_attack=modest, text_attack=TEXT_ATTACKS["text-empty"], generator=random(),
    )  # fmt: skip
    assert pair.prompt in ("", source.prompt)


def test_where_the_text_attack_does_not_apply_there_is_no_pair(model, pixels, mask, random):
    arguments = {"image_attack": PGD, "generator": random()}
    source = PromptSource("polyp")
    attack = TEXT_ATTACKS["text-colour"]
    assert joint(model, pixels, mask, source, text_attack=attack, **arguments) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": 0}, "rounds >= 1, got 0"),
        ({"text_attack": TEXT_ATTACKS["text-levels-best"]}, "one that picks the best"),
        ({"text_attack": embedding(radius=0.1)}, "in norm 'embedding'"),
    ],
)
def test_senseless_pairs_are_refused(settings, message, model, pixels, mask, source, random):
    arguments = {"image_attack": PGD, "text_attack": TEXT_ATTACKS["text-typos"]} | settings
    with pytest.raises(ValueError, match=message):
        joint(model, pixels, mask, source, generator=random(), **arguments)


def test_the_best_of_a_set_is_not_worse_than_the_worst(view, source, random):
    low, high = (
        attack_text(TEXT_ATTACKS[name], view, source, generator=random())
        for name in ("text-levels", "text-levels-best")
    )
    assert low.dsc < high.dsc == 1  # the mask is what the model says to the prompt
    assert high.prompt == source.prompt


@pytest.mark.parametrize("wrong", [{"kind": "kind"}, {"pick": "any"}])
def test_kinds_and_picks_are_two_each(wrong, unchecked):
    with pytest.raises(ValueError, match="kind 'benign' or 'adversarial' and pick"):
        TextAttack(**({"candidates": len, "kind": "benign"} | wrong))
