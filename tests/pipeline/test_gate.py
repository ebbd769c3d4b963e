"""``palpate gate``: exit status, ``verdict.json``, the page, and criteria fixed before the run."""

import json

import pytest
import yaml

from palpate.cli import main
from palpate.evaluation import COLUMNS, Row
from palpate.evaluation.results import store
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.acceptance import read_criteria_file
from palpate.pipeline.run.run import gate, make_report, run

from .finished import few_rows, finished_run

CLEAN = {"metric": "dsc", "condition": "clean", "at_least": 0.4}
PGD = {"metric": "dsc", "condition": "pgd 8/255", "at_least": 0.9}


@pytest.fixture
def folder(tmp_path):
    finished_run(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def write(tmp_path):
    def written(*criteria):
        path = tmp_path / "criteria.yaml"
        path.write_text(yaml.safe_dump(list(criteria)))
        return path

    return written


def status_of(*words):
    with pytest.raises(SystemExit) as stopped:
        main(["gate", *map(str, words)])
    return stopped.value.code


@pytest.mark.parametrize(
    ("criteria", "status", "answer"),
    [
        ([CLEAN], 0, "met"),
        ([CLEAN, PGD], 3, "not met"),
        ([CLEAN | {"at_least": 0.8}], 4, "undecided"),
    ],
)
def test_the_exit_status_is_the_verdict(criteria, status, answer, folder, write, capsys):
    assert status_of(folder, "--criteria", write(*criteria)) == status
    told = json.loads((folder / "verdict.json").read_text())
    assert told["verdict"] == answer
    assert told["fixed_beforehand"] is False
    part = told["criteria"][0]["parts"][0]
    assert part["low"] < part["value"] < part["high"]
    printed = capsys.readouterr()
    assert printed.out.strip() == str(folder / "verdict.json")
    assert f"Acceptance: {answer}" in printed.err
    assert not (folder / "report").exists()


def test_the_verdict_is_printed_as_json(folder, write, capsys):
    assert status_of(folder, "--criteria", write(CLEAN), "--json") == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "met"


@pytest.mark.parametrize(
    ("criteria", "said"),
    [
        ([CLEAN | {"metric": "dcs"}], "Did you mean 'dsc'"),
        ([PGD | {"condition": "pgd 4/255"}], "not run at 4/255; there is pgd 8/255"),
    ],
)
def test_bad_criteria_are_errors_and_write_nothing(criteria, said, folder, write):
    message = status_of(folder, "--criteria", write(*criteria))
    assert said in message  # a text as status is printed, and the status is 1
    assert not (folder / "verdict.json").exists()


def test_files_that_are_no_criteria_are_named(folder, tmp_path):
    assert "no acceptance criteria" in status_of(folder)
    assert "There is no file of criteria" in status_of(folder, "--criteria", tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("criteria: [")
    assert "is not readable YAML: line 1" in status_of(folder, "--criteria", broken)


def test_the_page_has_the_verdict_and_names_what_was_run(folder, write):
    """The run was made by an earlier version, which is no reason to refuse it."""
    (folder / "environment.json").write_text(json.dumps({"packages": {"palpate": "0.0.1"}}))
    gate(folder, write(CLEAN), page=True)
    page = (folder / "report" / "index.html").read_text()
    verdict = page.index("Acceptance: met.")
    assert page.index("<h1>") < verdict < page.index('<main id="main">')
    assert "were not fixed before the run" in page
    for fact in (
        "palpate/tiny", "none, the model was attacked as it is", "phantom-endoscopy, test split",
        "0.0.1, commit not known",
    ):  # fmt: skip
        assert fact in page
    gate(folder)  # exchanges the verdict by the same one
    assert (folder / "report" / "index.html").read_text() == page


def test_the_page_never_keeps_an_earlier_verdict(folder, write, capsys):
    page, pdf = folder / "report" / "index.html", folder / "report" / "report.pdf"
    page.parent.mkdir()
    pdf.touch()
    page.write_text("Title <!-- verdict: begin -->\nAcceptance: met.<!-- verdict: end --> <p>")
    assert status_of(folder, "--criteria", write(PGD)) == 3
    text = page.read_text()
    assert "Acceptance: not met." in text
    assert "Acceptance: met." not in text
    assert text.startswith("Title")
    assert text.endswith("<p>")
    assert "report.pdf does not have this verdict" in capsys.readouterr().err


def test_a_page_of_an_earlier_version_is_written_again(folder, write, monkeypatch):
    page, made = folder / "report" / "index.html", []
    page.parent.mkdir()
    page.write_text("Acceptance: met.")
    monkeypatch.setattr("palpate.pipeline.run.run.make_report", made.append)
    gate(folder, write(PGD))
    assert made == [folder]


def test_a_page_comes_even_if_the_rows_lack_a_condition(folder, write):
    gate(folder, write(PGD))
    rows = few_rows()
    for part in (folder / "rows").glob("*"):
        part.unlink()
    names = [name for name in COLUMNS if name in rows.columns]
    with store.RowStore(folder / "rows", {"protocol": "sound"}) as opened:
        lines = rows[rows["attack"] != "pgd"][names].to_dict("records")
        opened.add([Row.of(line) for line in lines])
    with pytest.warns(UserWarning, match=r"(?s)criteria were not judged.*no attack 'pgd'"):
        page = make_report(folder)
    assert "The acceptance criteria were not judged." in page.read_text()
    assert not (folder / "verdict.json").exists()


@pytest.fixture
def quick_values(values):
    quick = {"attacks": {"noise": {}}, "epsilon_255": [8], "sanity_samples": 0, "examples": 0}
    return values | {"evaluate": quick, "model": values["model"] | {"adapter": None, "width": None}}


def test_criteria_are_recorded_before_the_run(quick_values, tmp_path, write):
    criteria = {"criteria": [CLEAN, CLEAN | {"condition": "noise 8/255", "at_least": "0 %"}]}
    given = quick_values | {"out": str(tmp_path / "new"), "acceptance": criteria}
    page = run(config_from(given)).read_text()
    recorded = json.loads((tmp_path / "new" / "criteria.json").read_text())
    told = json.loads((tmp_path / "new" / "verdict.json").read_text())
    assert told["fixed_beforehand"] is True
    assert recorded["sha256"] == told["criteria_sha256"]
    assert recorded["date"] == told["recorded"] <= told["first_rows"]
    assert f"The criteria were fixed beforehand: hash {recorded['sha256'][:12]}" in page
    other = gate(tmp_path / "new", write(CLEAN))
    assert "it was started with other ones" in str(other.fixing)
    assert gate(tmp_path / "new").fixing.beforehand
    with pytest.raises(ValueError, match=r"other settings:\n  acceptance.criteria"):
        run(config_from(given | {"acceptance": {"criteria": [CLEAN]}}))


@pytest.mark.parametrize(
    ("criterion", "said"),
    [
        (CLEAN | {"metric": "recal"}, "no metric 'recal'"),
        (PGD, "no attack 'pgd'; there is clean, noise 8/255"),
        (CLEAN | {"subgroup": {"dataset": "kvasir"}}, "no dataset 'kvasir' in the run"),
        (CLEAN | {"at_least": "many"}, "as a number in %, got 'many'"),
    ],
)
def test_what_the_run_will_lack_is_refused_before_it_starts(
    criterion, said, quick_values, tmp_path
):
    given = {"out": str(tmp_path / "new"), "acceptance": {"criteria": [criterion]}}
    with pytest.raises(ValueError, match=said):
        run(config_from(quick_values | given))
    assert not (tmp_path / "new").exists()


def test_criteria_can_be_given_to_run_as_a_file(recipe, write, capsys):
    from palpate.cli.recipes import configs_of

    words = ["--config", str(recipe()), "--criteria", str(write(CLEAN))]
    (config,) = configs_of("run", words).values()
    assert config.acceptance == read_criteria_file(write(CLEAN)).values


def test_a_run_of_another_version_is_refused_in_one_sentence(folder, monkeypatch):
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text + "hyperspace: 3\n")
    (folder / "environment.json").write_text(json.dumps({"packages": {"palpate": "9.0"}}))
    with pytest.raises(ValueError, match=r"made by palpate 9.0 and cannot be opened by palpate"):
        make_report(folder)


def test_rows_of_another_version_are_refused_in_one_sentence(folder, monkeypatch):
    monkeypatch.setattr(store, "wrong_columns", lambda _: ["hue"])
    make = store._read_part
    (part,) = (folder / "rows").glob("part-*")
    with pytest.raises(ValueError, match="foreign or from another version"):
        make(part)
    monkeypatch.setattr(store, "release", lambda: "0.0.1")
    with pytest.raises(ValueError, match=r"rows of palpate .* palpate 0.0.1 does not know .hue."):
        make(part)
