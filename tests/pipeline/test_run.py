"""A whole run on tiny data: what it leaves behind, and what it does when it is called again."""

import json
import re
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from palpate.evaluation import read_rows
from palpate.evaluation.sanity import NAMES, card_from_rows, load_card
from palpate.models import load_model
from palpate.pipeline.recipe.reading import read_config
from palpate.pipeline.run.run import evaluate_again, run, train_only

ROWS = 5 * (1 + 3 * 2)


def timeless(rows):
    return rows.drop(columns="seconds").sort_values(["key", "attack", "epsilon"], ignore_index=True)


def test_leaves_everything_it_promises(tuned):
    out, page, _ = tuned
    assert page == out / "report" / "index.html"
    for name in (
        "config.yaml", "environment.json", "sanity.json", "examination.json", "costs.json",
        "checkpoint/palpate.json", "checkpoint/weights.safetensors", "checkpoint/metrics.csv",
        "tables/main.csv",
        "tables/main.md", "tables/main.tex", "tables/baseline.csv", "figures/dsc-over-epsilon.png",
        "report/index.html",
    ):  # fmt: skip
        assert (out / name).stat().st_size > 0, name
    assert list((out / "figures").glob("panel-*-pgd.png"))
    assert page.read_text().count("<path") > 100  # its charts are drawn into it


def test_the_environment_names_date_host_and_hardware(tuned):
    told = json.loads((tuned[0] / "environment.json").read_text())
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["date"])
    assert all(told[name] for name in ("host", "os", "processor", "cores", "memory_gb", "packages"))
    assert (told["cuda"] is None) == (told["gpu_memory_gb"] is None)
    page = tuned[1].read_text()
    for fact in (told["date"], told["host"], "dense-vl, width 4", "2 epochs on the training split"):
        assert fact in page


def test_rows_are_one_per_image_and_condition(tuned):
    rows = read_rows(tuned[0] / "rows")
    assert len(rows) == ROWS
    assert set(rows["attack"]) == {"clean", "noise", "fgsm", "pgd"}
    assert set((rows["epsilon"] * 255).round()) == {0, 2, 8}


def test_the_resolved_configuration_makes_the_same_run(tuned, values):
    out, _, _ = tuned
    again = read_config(out / "config.yaml")
    assert again.model.width == 4
    assert again.train.settings.epochs == 2
    assert again.folder == out


def test_every_stage_tells_how_far_it_is(tuned):
    told = tuned[2]
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == [
        "training", "baseline", "attacks", "sanity",
    ]  # fmt: skip
    for stage in {stage for stage, _, _ in told}:
        done = [(done, total) for name, done, total in told if name == stage]
        assert done[-1][0] == done[-1][1]
        assert done == sorted(done)


def test_costs_name_every_stage_with_time_and_memory(tuned):
    costs = json.loads((tuned[0] / "costs.json").read_text())
    assert list(costs) == ["pretrain", "train", "evaluate", "sanity", "report"]
    assert all(cost["seconds"] > 0 and cost["peak_memory_mb"] > 50 for cost in costs.values())


@pytest.mark.slow  # quick: a second call of a run with every kind of attack
def test_a_second_call_computes_nothing_again(tuned, tmp_path):
    out = shutil.copytree(tuned[0], tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (out / "rows").rglob("*.parquet")}
    weights = (out / "checkpoint" / "weights.safetensors").stat().st_mtime_ns
    told = []
    run(
        replace(read_config(out / "config.yaml"), out=out),
        lambda *what: told.append(what[0]),
    )
    assert {p: p.stat().st_mtime_ns for p in (out / "rows").rglob("*.parquet")} == before
    assert (out / "checkpoint" / "weights.safetensors").stat().st_mtime_ns == weights
    assert not {"training", "sanity"} & set(told)


def test_baseline_is_the_model_without_its_adapter(tuned, clipseg, data_root):
    import palpate

    out, _, _ = tuned
    data = palpate.load_data("folder", data_root, split="test", size=32)
    rows = palpate.evaluate(load_model(clipseg), data, {})
    baseline = read_rows(out / "baseline")
    assert_frame_equal(timeless(baseline)[["key", "dsc"]], timeless(rows)[["key", "dsc"]])
    table = pd.read_csv(out / "tables" / "baseline.csv")
    assert table["dsc_frozen"].item() == pytest.approx(rows["dsc"].mean())


class Killed(BaseException):
    """Ends a run as a signal would."""


@pytest.mark.parametrize(
    ("stage", "done"),
    [
        pytest.param("training", 1, marks=pytest.mark.slow),
        pytest.param("training", 3, marks=pytest.mark.slow),
        pytest.param("baseline", 2, marks=pytest.mark.slow),
        ("attacks", 16),
    ],
)
def test_a_killed_run_goes_on_to_the_same_rows(stage, done, tuned, recipe):
    config = read_config(recipe())

    def kill(where, at, total, note=""):
        if (where, at) == (stage, done):
            raise Killed

    with pytest.raises(Killed):
        run(config, kill)
    run(config)
    whole = timeless(read_rows(tuned[0] / "rows"))
    assert_frame_equal(timeless(read_rows(config.folder / "rows")), whole)


def test_more_attacks_are_added_to_the_rows(tuned, tmp_path):
    out = shutil.copytree(tuned[0], tmp_path / "run")
    page = evaluate_again(out, ("noise", "pgd"), (4.0,))
    rows = read_rows(out / "rows")
    assert len(rows) == ROWS + 10
    added = rows[(rows["epsilon"] * 255).round() == 4]
    assert added.groupby("attack").size().to_dict() == {"noise": 5, "pgd": 5}
    by_rows = card_from_rows(rows)  # of all there are, and not of the last ones alone
    assert [check for check in load_card(out / "sanity.json") if check in by_rows] == [
        check for number in NAMES for check in by_rows if check.number == number
    ]
    text = page.read_text(encoding="utf-8")
    assert "PGD" in text
    assert "palpate evaluate --run . --attacks noise pgd --epsilon-255 4" in text


@pytest.mark.parametrize(
    ("changes", "trained"),
    [
        ({}, "after_mlp"),  # nothing else is said: what had learnt, the adapters, learns on
        pytest.param(
            {"model__adapter": None, "model__learns": "decoder"}, "decoder", marks=pytest.mark.slow
        ),
    ],
)
def test_training_goes_on_from_a_checkpoint(changes, trained, tuned, recipe, tmp_path):
    before = tuned[0] / "checkpoint"
    few = {"evaluate__attacks": {"fgsm": {}}, "evaluate__epsilon_255": [2]}
    few |= {"evaluate__examples": 0, "train__settings__epochs": 1}
    config = read_config(recipe(model__name=str(before), model__width=None, **few, **changes))
    page = run(config)
    assert page.is_file()
    old, new = load_model(before), load_model(config.folder / "checkpoint")
    assert new.name == old.name
    was, now = old.net.state_dict(), new.net.state_dict()
    moved = [name for name in was if not was[name].equal(now[name])]
    assert any(trained in name for name in moved)
    rows = read_rows(config.folder / "baseline")
    clean = read_rows(tuned[0] / "rows").query("attack == 'clean'")
    assert rows["dsc"].mean() == pytest.approx(clean["dsc"].mean())


def test_training_alone_leaves_a_checkpoint(recipe, clipseg):
    config = read_config(recipe())
    folder = train_only(config)
    model = load_model(folder, base=clipseg)
    assert model.adapter == "dense-vl"
    assert not (config.folder / "rows").exists()


def test_without_adapter_the_model_is_attacked_as_it_is(recipe):
    config = read_config(recipe(model__adapter=None, evaluate__attacks={"fgsm": {}}))
    run(config)
    assert not (config.folder / "checkpoint").exists()
    assert len(read_rows(config.folder / "rows")) == 15
