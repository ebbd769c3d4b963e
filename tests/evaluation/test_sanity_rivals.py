"""Attacks that see less of the model, and models that are weaker against them."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from palpate.evaluation.sanity import card_from_model, card_from_rows, sanity_card
from palpate.evaluation.sanity.rivals import is_white

from .blobs import BlobFinder, blobs
from .planted import Misleading
from .test_sanity_rows import EPSILONS, SOUND, as_frame, row

STRONG = 32 / 255
KEYS = tuple(f"k{i:02}" for i in range(20))


class Masked(BlobFinder):
    """Answers as ever, but its gradient leads the attacker astray."""

    def forward(self, images, prompts):
        return super().forward(Misleading.apply(images), prompts)


class Rounding(BlobFinder):
    def forward(self, images, prompts):
        return super().forward((images * 32).round() / 32, prompts)


class NoGradTower(BlobFinder):
    def forward(self, images, prompts):
        with torch.no_grad():
            return super().forward(images, prompts)


def examine(model, **settings):
    card = card_from_model(model, blobs(2), **({"epsilon": STRONG, "steps": 8} | settings))
    return {check.number: check for check in card}


def test_square_attack_unmasks_a_model_whose_gradient_misleads():
    card = examine(Masked())
    assert card[7].status == "fail"
    assert "after 40 queries of Square Attack" in card[7].measured
    assert "n = 2; the worse of both" in card[7].measured
    assert card[10].status == card[13].status == "pass"  # nothing else looks wrong with it


def test_a_model_without_useful_gradient_is_broken_by_search():
    assert examine(Rounding())[7].status == "fail"


def test_a_model_on_which_pgd_cannot_run_is_not_passed():
    card = examine(NoGradTower())
    assert card[7].status == "fail"
    assert "RuntimeError" in card[7].measured


def test_a_sound_model_yields_more_to_its_gradient():
    card = examine(BlobFinder())
    assert card[7].status == "pass"
    assert "the worse of both on each image is 0.000 lower" in card[7].measured


def test_one_image_on_which_search_was_lucky_is_no_masked_gradient():
    card = card_from_model(BlobFinder(), blobs(4), epsilon=16 / 255, steps=1)
    (check,) = (check for check in card if check.number == 7)
    assert "lower." in check.measured
    assert "is 0.000 lower" not in check.measured  # it was lucky on one
    assert check.status == "pass"


def test_narrow_wins_on_half_of_the_images_at_equal_means_are_no_masked_gradient():
    leads = (0.02, 0.03, 0.02, -0.02, -0.03, -0.02)
    rows = pairs([0.4 - lead for lead in leads])
    assert statuses(rows)[7] == "pass"


@pytest.mark.parametrize(("lead", "status"), [(0.05, "fail"), (-0.05, "pass")])
def test_a_single_image_decides_nothing_but_several_that_agree_do(lead, status):
    assert statuses(pairs([0.4 - lead] * 4))[7] == status
    assert statuses(pairs([0.4 - lead]))[7] == ("warn" if lead > 0 else "pass")


def test_the_sentence_states_the_difference_with_its_interval():
    card = {check.number: check for check in card_from_rows(pairs([0.3, 0.3, 0.2, 0.2]))}
    assert card[7].measured == (
        f"Mean DSC 0.250 after square, 0.400 after pgd (linf {EPSILONS[1]:.3g}): difference "
        "+0.150, 95 % interval +0.100 to +0.200, n = 4; the worse of both on each image is "
        "0.150 lower."
    )


def pairs(square: list[float]) -> pd.DataFrame:
    """PGD at DSC 0.4 on every image, and Square Attack at the given ones."""
    rows = []
    for key, dsc in zip(KEYS, square, strict=False):
        rows += [row(key, "clean", 0.0, 0.92), row(key, "pgd", EPSILONS[1], 0.4)]
        rows.append(replace(row(key, "noise", EPSILONS[1], dsc), attack="square"))
    return as_frame(rows)


def test_the_budget_of_the_search_grows_with_the_steps():
    asked = []

    class Counted(BlobFinder):
        def forward(self, images, prompts):
            if not torch.is_grad_enabled():
                asked.append(len(images))
            return super().forward(images, prompts)

    def forward_only(steps):
        asked.clear()
        examine(Counted(), steps=steps)
        return sum(asked)

    # Two samples; PGD looks at its last iterate without a gradient, as often for any steps.
    assert forward_only(6) - forward_only(4) == 2 * 5 * 2


def table(
    rival: str, behind: int, *, epsilon: float = EPSILONS[1], dsc: float = 0.2, **changes
) -> pd.DataFrame:
    """PGD at DSC 0.4, and a rival at ``dsc`` on ``behind`` of 20 images, at 0.7 on the others."""
    rows = [row(key, "clean", 0.0, 0.92) for key in KEYS]
    rows += [row(key, "pgd", EPSILONS[1], SOUND["pgd"][1]) for key in KEYS]
    # Made as a row of "noise" for its passes: no rival passes backwards through the model.
    rows += [
        replace(row(key, "noise", epsilon, dsc if i < behind else 0.7), attack=rival, **changes)
        for i, key in enumerate(KEYS)
    ]
    return as_frame(rows)


def statuses(rows: pd.DataFrame) -> dict[int, str]:
    return {check.number: check.status for check in card_from_rows(rows)}


@pytest.mark.parametrize(
    ("behind", "status"), [(0, "pass"), (1, "pass"), (3, "pass"), (6, "warn"), (12, "fail")]
)
@pytest.mark.parametrize(
    ("rival", "number"),
    [
        ("square", 7),
        ("spsa-500", 7),
        ("nes", 7),
        ("simba", 7),
        ("hopskipjump", 7),
        ("transfer-pgd", 8),
        ("transfer", 8),
        ("from-pranet", 8),  # as the README names one
        ("from pranet", 8),  # as transfer_matrix does
    ],
)
def test_rows_of_rivals_are_compared_image_by_image(rival, number, behind, status):
    assert statuses(table(rival, behind))[number] == status


def test_a_hundredth_of_dsc_is_no_defeat():
    assert statuses(table("square", 20, dsc=0.395))[7] == "pass"
    assert statuses(table("square", 20, dsc=0.385))[7] == "fail"


def test_one_epsilon_at_which_search_wins_is_enough():
    def rows(behind):
        for key in KEYS:
            for epsilon in EPSILONS[1:]:
                yield row(key, "pgd", epsilon, 0.1)
                wins = key in behind and epsilon == EPSILONS[2]
                yield replace(row(key, "noise", epsilon, 0.05 if wins else 0.7), attack="square")

    assert statuses(as_frame(rows(())))[7] == "pass"
    card = {check.number: check for check in card_from_rows(as_frame(rows(KEYS)))}
    assert card[7].status == "fail"
    assert f"after pgd (linf {EPSILONS[2]:.3g})" in card[7].measured


@pytest.mark.parametrize("name", ["transfer-pgd", "from-pranet", "from pranet"])
def test_a_rival_that_counts_passes_of_its_surrogate_is_not_taken_for_white_box(name):
    rows = table(name, 20, backwards=40.0)
    assert statuses(rows)[8] == "fail"


def test_without_a_white_box_attack_at_the_same_epsilon_nothing_is_compared():
    assert statuses(table("square", 20, epsilon=EPSILONS[2]))[7] == "not_run"


def test_a_name_that_only_begins_like_a_rival_is_none():
    assert not {7, 8} & set(statuses(table("nesterov", 20, backwards=40.0)))
    assert is_white(table("nesterov", 20, backwards=40.0)).sum() == 2 * len(KEYS)


def test_without_rivals_the_rows_say_nothing_of_them():
    assert not {7, 8} & set(statuses(table("noise", 0)))


def test_rows_and_model_may_both_speak_on_one_point():
    card = sanity_card(table("square", 20), BlobFinder(), blobs(2), epsilon=STRONG, steps=8)
    assert sorted(check.status for check in card if check.number == 7) == ["fail", "pass"]
    assert [check.status for check in card if check.number == 8] == ["not_run"]
