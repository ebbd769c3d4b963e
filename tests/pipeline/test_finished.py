"""What is done with the folder of a finished run."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from palpate.cli.tables.scores import show_scores
from palpate.evaluation.sanity import Check, sanity_card, save_card
from palpate.pipeline.recipe.reading import write_config
from palpate.pipeline.run.run import evaluate_again, make_report
from palpate.pipeline.run_folder.folder import note_evaluation, read_evaluations
from palpate.pipeline.several.compare import cards, compare_runs
from palpate.pipeline.several.sweep import report_sweep

from .finished import CONFIG, few_rows, finished_run


@pytest.fixture
def run(tmp_path):
    finished_run(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("left", [(), ("protocol.json",)])
def test_a_part_that_has_only_begun_is_no_part_yet(run, left):
    for part in ("texts", "baseline"):
        (run / part).mkdir()
        for name in left:
            (run / part / name).write_text(json.dumps({}))
    page = make_report(run).read_text()
    assert "Attacks on the prompt" not in page


@pytest.mark.parametrize(("norm", "said"), [("normalised", "normalised"), ("l2", "L2")])
def test_scores_are_shown_whatever_norm_was_attacked_in(tmp_path, norm, said, capsys):
    rows = few_rows()
    finished_run(tmp_path / "run", rows.assign(norm=norm, epsilon=rows["epsilon"] * 10))
    make_report(tmp_path / "run")
    show_scores(tmp_path / "run")
    shown = " ".join(capsys.readouterr().err.split())
    assert f"DSC of kvasir ({said}): clean" in shown
    assert "PGD" in shown


def test_tables_of_an_earlier_report_do_not_stay(run, tmp_path, capsys):
    (run / "tables").mkdir()
    for name in ("baseline.csv", "main-l2.csv", "main-l2.tex", "curve-area.md", "mine.csv"):
        (run / "tables" / name).write_text("facet,attack\nof another report,pgd\n")
    make_report(run)
    show_scores(run)
    assert "of another report" not in capsys.readouterr().err
    assert not (run / "tables" / "main-l2.tex").exists()
    assert (run / "tables" / "mine.csv").exists()
    assert "pgd" in set(pd.read_csv(run / "tables" / "curve-area.csv")["attack"])


def sweep(tmp_path, runs, **config):
    """Finished runs, by label: (changes of the configuration, rows)."""
    made = {
        label: finished_run(tmp_path / label, rows, replace(CONFIG, **config, **changes))
        for label, (changes, rows) in runs.items()
    }
    return report_sweep(made, tmp_path / "all").read_text()


def reworded(rows, by):
    return rows.assign(prompt=rows["prompt"] + by)


def test_seeds_stand_side_by_side(tmp_path):
    """Also where each seed drew prompts of its own."""
    runs = {str(s): ({"seed": s}, reworded(few_rows(seed=s), str(s))) for s in (0, 1, 12)}
    page = sweep(tmp_path, runs)
    main = pd.read_csv(tmp_path / "all" / "tables" / "main.csv").set_index("facet")
    assert main["seed"].to_dict() == {
        "kvasir, seed 0": 0, "kvasir, seed 1": 1, "kvasir, seed 12": 12,
    }  # fmt: skip
    against = pd.read_csv(tmp_path / "all" / "tables" / "compare.csv")
    assert set(against["run"]) == {"seed 1", "seed 12"}
    assert set(against["n"]) == {6}
    for table in ("main.md", "compare.md"):
        assert "seed 0, 1, 12" in (tmp_path / "all" / "tables" / table).read_text()
    assert "seed <b>0, 1, 12</b>" in page
    assert "across 3 runs;" in page
    assert "6 images in 3 runs" in page


def test_seeds_that_share_no_image_are_reported_nevertheless(tmp_path):
    moved = few_rows(seed=1)
    runs = {
        "0": ({"seed": 0}, few_rows()),
        "1": ({"seed": 1}, moved.assign(key=moved["key"] + "x", image_name=moved["key"] + "x")),
    }
    assert "across 2 runs" in sweep(tmp_path, runs)
    assert not (tmp_path / "all" / "tables" / "compare.csv").exists()


def test_data_sets_of_different_seeds_become_one_table(tmp_path):
    isic = few_rows(seed=1, dataset="isic")
    page = sweep(tmp_path, {"kvasir": ({"seed": 0}, few_rows()), "isic-1": ({"seed": 1}, isic)})
    assert "across 2 data sets and structures" in page


def test_seeds_with_several_prompts_are_paired_by_level(tmp_path):
    def prompted(seed):
        levels = [few_rows(seed=seed, prompt_level=level, prompt=level) for level in ("p1", "p2")]
        return pd.concat(levels, ignore_index=True)

    sweep(tmp_path, {str(s): ({"seed": s}, prompted(s)) for s in (0, 1)})
    against = pd.read_csv(tmp_path / "all" / "tables" / "compare.csv")
    assert set(against["n"]) == {12}


CARD = [Check(2, "pass", "0 of 6 outside.", "Measured."), Check(12, "pass", "Unchanged.", "Same.")]


def test_a_comparison_says_whose_card_says_what(tmp_path):
    for name in ("a", "b", "c"):
        finished_run(tmp_path / name)
    save_card(CARD, tmp_path / "a" / "sanity.json")
    save_card([CARD[0], Check(12, "fail", "A buffer changed.", "")], tmp_path / "b" / "sanity.json")
    card = cards({name: tmp_path / name for name in "abc"})
    said = {check.measured: check.status for check in card if check.number == 12}
    assert said["a: Unchanged."] == "pass"
    assert said["b: A buffer changed."] == "fail"
    assert len(said) == 3  # of c, which has no card, the rows tell no more than that
    assert "a, b: 0 of 6 outside." in {check.measured for check in card}
    page = compare_runs([tmp_path / name for name in "abc"], tmp_path / "all").read_text()
    assert "b: A buffer changed." in page
    assert "across 3 runs" in page


def test_cards_that_say_the_same_say_it_once(tmp_path):
    for name in ("a", "b"):
        finished_run(tmp_path / name)
    card = cards({name: tmp_path / name for name in "ab"})
    assert card == sanity_card(few_rows())


def test_radii_in_another_unit_than_that_of_the_protocol_are_refused(tmp_path):
    paper = replace(CONFIG, evaluate=replace(CONFIG.evaluate, protocol="paper"))
    finished_run(tmp_path / "run", config=paper)
    with pytest.raises(ValueError, match=r"protocol 'paper'.*--evaluate\.epsilon-normalised"):
        evaluate_again(tmp_path / "run", ("pgd",), (4.0,))
    assert not read_evaluations(tmp_path / "run")


def test_the_page_tells_what_was_added_to_the_recipe(run):
    note_evaluation(run, None, None)  # the recipe as it is
    for attacks in (("pgd",), ("of mine.py:press", "noise"), ("pgd",)):
        note_evaluation(run, attacks, (0.5, 4.0))
    page = make_report(run).read_text()
    first, second = read_evaluations(run)
    assert first == "palpate evaluate --run . --attacks pgd --epsilon-255 0.5 4"
    assert second.endswith("--attacks 'of mine.py:press' noise --epsilon-255 0.5 4")
    assert "palpate rerun ." in page
    assert f"<code>{first}</code>" in page


def test_what_is_no_list_of_commands_is_named(run):
    (run / "evaluations.json").write_text("{}")
    with pytest.raises(ValueError, match=r"list of commands in .*evaluations\.json"):
        make_report(run)


def test_a_configuration_is_written_whole_or_not_at_all(run, monkeypatch):
    before = (run / "config.yaml").read_bytes()

    def fail(*_, **__):
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr("palpate.atomic._flush", fail)
        with pytest.raises(OSError, match="no space"):
            write_config(replace(CONFIG, seed=3), run / "config.yaml")
    assert (run / "config.yaml").read_bytes() == before
