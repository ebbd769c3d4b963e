"""What is done with the folder of a finished run."""

import json

import pandas as pd
import pytest

from palpate.pipeline.run import make_report
from palpate.pipeline.show import show_scores

from .finished import few_rows, finished_run


@pytest.fixture
def run(tmp_path):
    finished_run(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pages without figures on disk, which other tests look at."""
    import sys

    whole = sys.modules["palpate.reporting.report"]
    monkeypatch.setattr(whole, "write_charts", lambda *_: None)


@pytest.mark.parametrize("left", [(), ("protocol.json",)])
def test_a_part_that_has_only_begun_is_no_part_yet(run, left):
    for part in ("texts", "baseline"):
        (run / part).mkdir()
        for name in left:
            (run / part / name).write_text(json.dumps({}))
    page = make_report(run).read_text()
    assert "Other words for the same image" not in page


@pytest.mark.parametrize(("norm", "said"), [("normalised", "normalised"), ("l2", "L2")])
def test_scores_are_shown_whatever_norm_was_attacked_in(tmp_path, norm, said, capsys):
    rows = few_rows()
    finished_run(tmp_path / "run", rows.assign(norm=norm, epsilon=rows["epsilon"] * 10))
    make_report(tmp_path / "run")
    show_scores(tmp_path / "run")
    shown = " ".join(capsys.readouterr().err.split())
    assert f"DSC under attack: kvasir ({said})" in shown
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
