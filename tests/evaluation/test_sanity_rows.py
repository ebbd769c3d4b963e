from dataclasses import replace

import pandas as pd
import pytest

from palpate.evaluation.sanity import card_from_rows, load_card, sanity_card, save_card, worst
from palpate.evaluation.sanity.check import Check, grade

from .sample_row import ROW, SCORES

EPSILONS = (1 / 255, 4 / 255, 16 / 255)
SOUND = {"noise": (0.9, 0.89, 0.85), "fgsm": (0.8, 0.6, 0.5), "pgd": (0.7, 0.4, 0.1)}
PASSES = {"clean": 0.0, "noise": 0.0, "fgsm": 1.0, "pgd": 40.0}


def row(key: str, attack: str, epsilon: float, dsc: float, **changes):
    changes = {"linf": epsilon, "l2": epsilon, "loss": 1 - dsc, "loss_clean": 0.05} | changes
    return replace(
        ROW, key=key, attack=attack, epsilon=epsilon, norm="linf" if epsilon else "none",
        scores=SCORES | {"dsc": dsc, "dsc_clean": 0.92},
        backwards=PASSES[attack.split("-")[0]], **changes,
    )  # fmt: skip


def table(curves=SOUND, keys=tuple("abcdefghij")) -> list:
    rows = [row(key, "clean", 0.0, 0.92) for key in keys]
    return rows + [
        row(key, attack, epsilon, dsc)
        for key in keys
        for attack, curve in curves.items()
        for epsilon, dsc in zip(EPSILONS, curve, strict=True)
    ]


def statuses(rows) -> dict[int, str]:
    return {check.number: check.status for check in card_from_rows(as_frame(rows))}


def as_frame(rows) -> pd.DataFrame:
    return pd.DataFrame([row.columns() for row in rows])


def test_sound_rows_pass_every_check():
    assert statuses(table()) == dict.fromkeys((2, 3, 5, 6, 16, 17), "pass")


@pytest.mark.parametrize(
    ("attack", "curve", "number", "status"),
    [
        ("pgd", (0.3, 0.4, 0.1), 3, "fail"),  # damage shrinks from 1 to 4
        ("pgd", (0.7, 0.40, 0.43), 3, "warn"),
        ("pgd", (0.7, 0.4, 0.405), 3, "pass"),
        ("fgsm", (0.8, 0.5, 0.7), 3, "warn"),  # a single step may overshoot
        ("pgd", (0.95, 0.4, 0.1), 3, "warn"),  # better than clean
        ("noise", (0.9, 0.8, 0.88), 3, "pass"),  # noise optimises nothing
        ("noise", (0.9, 0.6, 0.4), 5, "warn"),
        ("noise", (0.9, 0.4, 0.1), 5, "fail"),
        ("noise", (0.9, 0.3, 0.85), 5, "fail"),  # one epsilon is enough
        ("pgd", (0.85, 0.65, 0.6), 6, "fail"),
        ("pgd", (0.8, 0.6, 0.5), 6, "pass"),
    ],
)
def test_one_wrong_curve_trips_its_check(attack, curve, number, status):
    assert statuses(table(SOUND | {attack: curve}))[number] == status


@pytest.mark.parametrize(("behind", "status"), [(1, "pass"), (4, "warn"), (10, "fail")])
def test_images_on_which_more_effort_finds_less_are_counted_one_by_one(behind, status):
    keys = [f"k{i:02}" for i in range(20)]
    rows = [
        replace(each, scores=each.scores | {"dsc": 0.52})
        if each.attack == "pgd" and each.epsilon == EPSILONS[2]
        and each.key in keys[:behind] else each
        for each in table({"fgsm": (0.8, 0.6, 0.5), "pgd": (0.7, 0.4, 0.1)}, tuple(keys))
        if each.epsilon in (0.0, EPSILONS[2])
    ]  # fmt: skip
    assert statuses(rows)[6] == status


@pytest.mark.parametrize(
    ("changes", "number", "status"),
    [
        ({"linf": EPSILONS[0] * 1.01}, 2, "fail"),
        ({"linf": float("nan")}, 2, "fail"),
        ({"norm": "l2", "epsilon": 0.5, "l2": 0.51}, 2, "fail"),
        ({"norm": "l2", "epsilon": 0.5, "l2": 0.5, "linf": 0.2}, 2, "pass"),
        ({"linf": 0.0}, 17, "warn"),
        ({"loss": 0.05}, 17, "warn"),
        ({"loss": float("nan")}, 17, "fail"),
    ],
)
def test_one_wrong_row_trips_its_check(changes, number, status):
    rows = table()
    rows[-3] = replace(rows[-3], **changes)
    assert statuses(rows)[number] == status


def test_attacks_that_change_nothing_fail():
    curve = (0.92, 0.92, 0.92)
    rows = [replace(r, loss=0.05) for r in table({"noise": curve, "fgsm": curve, "pgd": curve})]
    assert statuses(rows) == {
        2: "pass", 3: "pass", 5: "warn", 6: "pass", 16: "pass", 17: "fail",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("noise", "attack", "sentence"),
    [
        (0.95, 0.4, "Noise does no damage at any epsilon; the strongest attack takes 0.520 DSC."),
        (0.4, 0.95, "Noise takes 0.520 DSC, and no attack does any damage."),
        (0.79, 0.4, "Noise does at most 25 % of the damage of the strongest attack (0.130 of "),
    ],
)
def test_damage_below_zero_is_said_in_words(noise, attack, sentence):
    rows = as_frame(table({"noise": (noise,) * 3, "pgd": (attack,) * 3}))
    (check,) = (each for each in card_from_rows(rows) if each.number == 5)
    assert check.measured.startswith(sentence)


@pytest.mark.parametrize(("clean", "status"), [(0.6, "pass"), (0.4, "warn"), (0.1, "fail")])
def test_a_model_that_segments_nothing_is_no_robust_model(clean, status):
    rows = [replace(each, scores=each.scores | {"dsc_clean": clean}) for each in table()]
    assert statuses(rows)[16] == status


def test_a_model_that_calls_every_pixel_foreground_is_noticed():
    rows = [replace(row, clean_area=1.0) for row in table()]
    (check,) = (each for each in card_from_rows(as_frame(rows)) if each.number == 16)
    assert check.status == "fail"
    assert "10 of 10 predictions fill the image" in check.measured
    assert "probabilities read as logits" in check.meaning


def test_attacks_are_known_by_how_their_names_begin():
    curves = {"fgsm-linf": SOUND["fgsm"], "pgd-40": SOUND["pgd"], "pgd-10": (0.9, 0.9, 0.9)}
    assert statuses(table(curves))[6] == "pass"  # the best of both is as strong as it must be
    assert statuses(table({"fgsm-linf": SOUND["fgsm"], "pgd-10": (0.9, 0.9, 0.9)}))[6] == "fail"


def test_what_cannot_be_checked_is_not_run():
    assert set(statuses(table({})).values()) == {"not_run"}
    assert statuses(table({"noise": SOUND["noise"]})) == {
        2: "pass", 3: "not_run", 5: "not_run", 6: "not_run", 16: "pass", 17: "not_run",
    }  # fmt: skip
    assert statuses(table({"pgd": SOUND["pgd"]}))[5] == "not_run"


def test_the_card_lists_every_number_also_those_nobody_looked_at():
    card = sanity_card(as_frame(table()))
    assert sorted({check.number for check in card}) == list(range(1, 21))
    found = {check.number: check for check in card}
    assert found[7].status == found[8].status == found[13].status == "not_run"
    assert all(check.name and check.measured and check.meaning for check in card)


def test_a_model_needs_samples():
    with pytest.raises(ValueError, match="Expected samples to examine the model on"):
        sanity_card(model=lambda *_, **__: None)


def test_a_card_comes_back_from_its_file(tmp_path):
    card = sanity_card(as_frame(table()))
    save_card(card, tmp_path / "card.json")
    assert load_card(tmp_path / "card.json") == card


@pytest.mark.parametrize("content", ["", "{}", '[{"number": 1}]', "[3]"])
def test_another_file_is_not_taken_for_a_card(content, tmp_path):
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(ValueError, match=r"sanity card in .*card\.json"):
        load_card(tmp_path / "card.json")


def test_a_card_is_as_bad_as_its_worst_check():
    assert worst(["pass", "fail", "warn"]) == "fail"
    assert worst([]) == "not_run"
    assert Check(1, "pass", "", "").name == "Epsilon 0 changes nothing"
    assert grade(float("inf"), warn_above=0.0, fail_above=1.0) == "fail"
