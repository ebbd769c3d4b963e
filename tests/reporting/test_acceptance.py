"""Acceptance criteria: what is refused before anything is computed, and how rows are judged."""

from math import inf

import numpy as np
import pytest

from palpate.evaluation.metrics import find_metrics
from palpate.reporting.acceptance.conditions import Condition
from palpate.reporting.acceptance.criteria import read_criteria, resolve
from palpate.reporting.acceptance.judge import judge
from palpate.reporting.acceptance.verdict import Fixing
from palpate.reporting.acceptance.wording import heading, lines

CONDITIONS = [
    Condition("clean", "", 0),
    Condition("pgd", "linf", 2 / 255),
    Condition("pgd", "linf", 8 / 255),
    Condition("ddn", "l2", inf, minimal=True),
]
CLEAN = {"metric": "dsc", "condition": "clean", "at_least": 0.8}


def resolved(**changes):
    criteria = read_criteria([CLEAN | changes], "file.yaml")
    return resolve(criteria, find_metrics(), CONDITIONS, "file.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": "dcs"}, "no metric 'dcs'; it has dsc, .*Did you mean 'dsc'"),
        ({"condition": "pdg 2/255"}, "no attack 'pdg'; there is clean, pgd 2/255.*mean 'pgd'"),
        ({"condition": "pgd 4/255"}, "not run at 4/255; there is pgd 2/255, pgd 8/255"),
        ({"condition": "pgd 2"}, "not run at 2, for radii are .* .write 2/255"),
        ({"condition": "pgd"}, "several conditions of 'pgd': pgd 2/255, pgd 8/255"),
        ({"condition": {"attack": "pgd", "epsilon255": 2}}, "Did you mean 'epsilon_255'"),
        ({"at_least": 80}, "at_least of dsc from 0 to 1, got 80 .80 % is 0.8 or '80 %'"),
        ({"at_least": "5 px"}, "at_least of dsc as a number in %, got '5 px'"),
        ({"metric": "hd95"}, "a lower hd95 is better, so its threshold is at_most"),
        ({"metric": "drop"}, "drop compares with the clean images; name an attack"),
        ({"condition": "ddn"}, "searches for the smallest perturbation .* use radius or success"),
        ({"metric": "radius", "condition": "pgd 2/255"}, "pgd 2/255 has a fixed radius"),
        ({"metric": "radius", "condition": "ddn"}, "radius has no mean"),
        ({"statistic": "meen"}, "no statistic 'meen'.*Did you mean 'mean'"),
        ({"subgroup": "structur"}, "Did you mean 'structure'"),
        ({"statistik": "mean"}, "there is no 'statistik'.*Did you mean 'statistic'"),
        ({"at_most": 0.9}, "at_least or at_most, got at_least and at_most"),
    ],
)
def test_what_does_not_fit_to_the_run_is_named(changes, said):
    with pytest.raises(
        ValueError, match=rf"(?s)file.yaml cannot be used:\n  criterion 1: .*{said}"
    ):
        resolved(**changes)


def test_all_faults_are_listed_at_once():
    with pytest.raises(ValueError, match=r"(?s)criterion 1: .*criterion 2: condition is missing"):
        read_criteria([{"metric": "dsc"} | {"at_least": True}, {"metric": "dsc"}], "file.yaml")


@pytest.mark.parametrize(
    ("condition", "at_least", "threshold"),
    [("pgd at 2/255", "80 %", 0.8), ({"attack": "pgd", "epsilon_255": 2}, 0.5, 0.5)],
)
def test_conditions_and_units_can_be_written_in_several_ways(condition, at_least, threshold):
    (found,) = resolved(condition=condition, at_least=at_least)
    assert found.condition == CONDITIONS[1]
    assert found.threshold == threshold


def test_the_hash_is_that_of_the_values_and_not_of_their_order():
    one, other = read_criteria([CLEAN], "a"), read_criteria({"criteria": [CLEAN]}, "b")
    turned = read_criteria([dict(reversed(CLEAN.items()))], "c")
    assert one.digest == other.digest == turned.digest
    assert one.digest != read_criteria([CLEAN | {"at_least": 0.81}], "d").digest


def verdict(rows, *criteria, hold="all"):
    return judge(rows, read_criteria({"hold": hold, "criteria": list(criteria)}, "file"))


@pytest.fixture
def clean(kvasir):
    """Twenty clean images with a DSC between 0.82 and 0.88."""
    rows = kvasir[kvasir["attack"] == "clean"].copy()
    rows["dsc"] = rows["dsc_clean"] = np.linspace(0.82, 0.88, len(rows))
    return rows


@pytest.mark.parametrize(
    ("at_least", "answer"), [(0.7, "met"), (0.83, "undecided"), (0.9, "not met")]
)
def test_the_interval_decides_and_not_the_mean(clean, at_least, answer):
    found = verdict(clean, CLEAN | {"at_least": at_least})
    (part,) = found.criteria[0].parts
    assert part.value == pytest.approx(0.85)
    assert found.verdict == part.verdict == answer
    assert (part.needed is not None) == (answer == "undecided")
    if answer == "undecided":
        assert part.low < 0.83 < part.value
        assert part.needed > 20
        assert f"about {part.needed} images would decide" in lines(found)[0].note


def test_a_criterion_must_hold_in_every_data_set(all_rows):
    rows = all_rows.copy()
    rows.loc[rows["dataset"] == "isic", ["dsc", "dsc_clean"]] = 0.2
    found = verdict(rows, CLEAN | {"at_least": 0.5})
    answers = {part.where: part.verdict for part in found.criteria[0].parts}
    assert answers["isic"] == "not met"
    assert answers["kvasir"] == "met"
    assert found.verdict == "not met"


def test_all_or_any(clean):
    easy, hard = CLEAN | {"at_least": 0.5}, CLEAN | {"at_least": 0.95}
    assert verdict(clean, easy, hard).verdict == "not met"
    either = verdict(clean, easy, hard, hold="any")
    assert either.verdict == "met"
    assert heading(either) == "Acceptance: met (1 met, 1 not met of 2 criteria; any may hold)."
    assert verdict(clean, hard, hard, hold="any").verdict == "not met"


def test_any_is_corrected_step_by_step(clean):
    """One criterion that holds at 97.5 % leaves the full 5 % to the other, as Holm says."""
    (part,) = verdict(clean, CLEAN).criteria[0].parts
    at_the_edge = CLEAN | {"at_least": part.low}
    assert verdict(clean, at_the_edge, at_the_edge).verdict == "met"
    assert verdict(clean, at_the_edge, at_the_edge, hold="any").verdict == "undecided"
    one, other = verdict(clean, at_the_edge, CLEAN | {"at_least": 0.1}, hold="any").criteria
    assert (one.verdict, other.verdict) == ("met", "met")
    assert (one.confidence, other.confidence) == (0.95, 0.975)


def test_success_is_of_images_that_were_segmented_before(kvasir):
    pgd = {"metric": "success", "condition": "pgd 8/255", "at_most": 0.5}
    before = verdict(kvasir, pgd).criteria[0].parts[0]
    lost = kvasir["key"] == kvasir["key"].iloc[0]
    kvasir.loc[lost & (kvasir["attack"] == "clean"), "failure"] = "vanished"
    after = verdict(kvasir, pgd).criteria[0].parts[0]
    assert (before.n, after.n) == (20, 19)


def test_subgroups_are_judged_by_themselves(kvasir):
    by_size = verdict(kvasir, CLEAN | {"subgroup": "size"}).criteria[0].parts
    assert [part.where for part in by_size] == [
        f"kvasir · {size} masks" for size in ("small", "middle", "large")
    ]
    assert sum(part.n for part in by_size) == 20
    (small,) = verdict(kvasir, CLEAN | {"subgroup": {"size": "small"}}).criteria[0].parts
    assert small == by_size[0]
    with pytest.raises(ValueError, match="no structure 'polip' in the run; there is polyp"):
        verdict(kvasir, CLEAN | {"subgroup": {"structure": "polip"}})


def test_a_condition_that_lacks_images_is_undecided(kvasir):
    last = (kvasir["attack"] == "pgd") & (kvasir["key"] == kvasir["key"].iloc[0])
    found = verdict(kvasir[~last], {"metric": "dsc", "condition": "pgd 8/255", "at_least": 0})
    assert found.verdict == "undecided"
    assert found.criteria[0].parts[0].reason == "1 of 20 images are not evaluated yet"


def test_a_metric_without_limits_needs_more_images(kvasir):
    kvasir["hd95"] = 5.0
    found = verdict(kvasir, {"metric": "hd95", "condition": "clean", "at_most": "8 px"})
    assert found.criteria[0].parts[0].needed == 30
    assert found.verdict == "undecided"
    tenth = {"metric": "hd95", "condition": "clean", "statistic": "median", "at_most": 8}
    assert verdict(kvasir, tenth).verdict == "met"


def test_the_median_radius_counts_images_that_were_not_broken(kvasir):
    rows = kvasir[kvasir["attack"].isin(["clean", "pgd"]) & (kvasir["epsilon"] != 4 / 255)]
    rows = rows.assign(minimal=rows["attack"] == "pgd")
    sought = rows["minimal"]
    rows.loc[sought, "linf"] = 3 / 255
    rows.loc[sought, "failure"] = "vanished"
    radius = {"metric": "radius", "condition": "pgd", "statistic": "median", "at_least": "2/255"}
    (line,) = lines(verdict(rows, radius))
    assert (line.threshold, line.value, line.verdict) == ("≥ 2/255", "3/255", "met")


def test_whether_criteria_were_fixed_beforehand_is_said():
    before = Fixing("a" * 64, "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z")
    assert before.beforehand
    assert "fixed beforehand: hash aaaaaaaaaaaa" in str(before)
    late = Fixing("a" * 64, "2026-01-02T00:00:00Z", "2026-01-01T00:05:00Z")
    assert not late.beforehand
    assert "were not fixed before the run" in str(late)
    assert "other ones (hash bbbbbbbbbbbb)" in str(Fixing("a" * 64, other="b" * 64))
