"""The command line as a user types it."""

import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from palpate.cli import main
from palpate.cli.commands import UsageError
from palpate.cli.recipes import configs_of
from palpate.cli.short_help import SHOWN
from palpate.pipeline.attacks.plan import described
from palpate.pipeline.recipe.config import EvaluateConfig
from palpate.pipeline.recipe.reading import read_config, recipe_from

from .conftest import shell

COMMANDS = [
    "demo", "run", "train", "pretrain", "evaluate", "predict", "report", "gate", "compare", "rerun",
    "verify", "transfer", "data", "models", "attacks", "completion",
]  # fmt: skip


def test_without_arguments_it_says_what_it_can(capsys):
    main([])
    text = capsys.readouterr().out
    for command in ("run", "train", "evaluate", "report", "compare", "transfer", "data check"):
        assert f"palpate {command}" in text


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "data"])
def test_every_command_knows_help(command, capsys):
    assert finish(command, "--help") == 0
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["data"], ["data", "--help"]])
def test_a_group_of_commands_lists_them(words, capsys):
    main(words)
    page = capsys.readouterr().out
    for command in ("prepare", "check", "show", "prompts", "split"):
        assert f"palpate data {command}" in page


def test_help_on_a_run_shows_twenty_settings_and_all_on_demand(capsys):
    assert finish("run", "--help") == 0
    page = capsys.readouterr().out
    options = re.findall(r"^  (--[\w.-]+)", page, re.MULTILINE)
    assert options == ["--config", "--json", "--help-all"] + [
        f"--{name.replace('_', '-')}" for name in SHOWN
    ]
    assert len(SHOWN) == 20
    assert "Seed of all random numbers. Default: 0." in page
    assert finish("run", "--help-all") == 0
    everything = capsys.readouterr().out
    assert "--train.settings.warmup-epochs" in everything
    assert all(option in everything for option in options[3:])


@pytest.mark.parametrize("given", [["8"], ["8/255"], ["4", "8/255"]])
def test_radii_may_be_written_over_255(given):
    words = ["--model.name", "x", "--data.name", "kvasir", "--evaluate.epsilon-255", *given]
    assert configs_of("run", words)[""].evaluate.epsilon_255[-1] == 8.0
    assert recipe_from({"epsilon_255": given}, EvaluateConfig, "").epsilon_255[-1] == 8.0


def test_attacks_may_be_written_as_in_a_recipe():
    words = ["--model.name", "x", "--data.name", "kvasir", "--evaluate.attacks"]
    attacks = configs_of("run", [*words, "pgd", "mine.py:press", "{noise: {}, sea: {steps: 9}}"])
    assert attacks[""].evaluate.attacks == {
        "pgd": {"steps": 40}, "press": {"attack": "mine.py:press"}, "noise": {},
        "sea": {"steps": 9},
    }  # fmt: skip
    with pytest.raises(UsageError, match="expected names of attacks, or their options"):
        configs_of("run", [*words, "pgd: 40"])


@pytest.mark.parametrize(
    ("radius", "said"),
    [
        ("8/256", "as 8 or 8/255, got '8/256'. Write the number of grey levels"),
        ("0.031", "0.1 to 255 (8 for 8/255), got 0.031. 0.031 in pixel values is 7.91."),
        ("0.03/255", "0.1 to 255 (8 for 8/255), got 0.03/255"),
        ("300", "0.1 to 255 (8 for 8/255), got 300"),
    ],
)
@pytest.mark.parametrize("command", ["run", "evaluate", "attacks check"])
def test_a_radius_that_may_mean_two_things_is_refused(command, radius, said, capsys):
    option = "--evaluate.epsilon-255" if command == "run" else "--epsilon-255"
    named = ["--model.name", "x", "--data.name", "kvasir"] if command == "run" else ["x"]
    assert finish(*command.split(), *named, option, radius) == 2
    assert f"palpate: {option}: Expected a radius in steps of an 8-bit image, " in (
        error := capsys.readouterr().err
    )
    assert said in error


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["attacks"], "image"),
        (["attacks", "check", "noise", "--samples", "0"], "checks"),
        (["models", "check", "monai/unet", "--size", "32"], "passed"),
    ],
)
def test_tables_are_printed_as_json(words, key, capsys, tmp_path):
    main([*words, "--json"])
    values = json.loads(capsys.readouterr().out)
    assert values[key]
    main([*words, "--json", str(tmp_path / "it.json")])
    assert capsys.readouterr().out.strip() != ""  # the table as well
    assert json.loads((tmp_path / "it.json").read_text()).keys() == values.keys()


def test_unknown_command_lists_the_known_ones(capsys):
    assert finish("evalute") == 2
    said = capsys.readouterr().err
    assert f"{', '.join(COMMANDS)}, got 'evalute'. Did you mean 'evaluate'?" in said


def test_options_win_over_the_recipe(recipe):
    words = ["--config", str(recipe()), "--evaluate.epsilon-255", "4"]
    (config,) = configs_of("run", words).values()
    assert list(config.evaluate.epsilon_255) == [4.0]
    assert config.evaluate.attacks.keys() == {"noise", "fgsm", "pgd"}  # as in the recipe


@pytest.mark.slow
def test_a_run_from_the_shell(recipe, tmp_path):
    """With nothing left out but the sanity card: figures are drawn in all formats."""
    path = recipe(
        evaluate__attacks={"fgsm": {}}, evaluate__epsilon_255=[2], evaluate__examples=0,
        train__settings__epochs=1, evaluate__baseline=False, data__test_limit=3,
    )  # fmt: skip
    arguments = ["run", "--config", str(path), "--evaluate.epsilon-255", "4"]
    done = shell(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "run" / "report" / "index.html")
    assert "attacks: 6/6" in done.stderr
    assert list((tmp_path / "run" / "figures").glob("*.pdf"))
    assert "epsilon_255:\n  - 4" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_sign_without_a_letter_for_it_costs_no_result(data_root, monkeypatch):
    kept = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(kept, encoding="cp1252"))
    assert finish("data", "check", "folder", "--root", str(data_root)) == 0
    sys.stdout.flush()
    assert b"Passed" in kept.getvalue()


def test_whoever_reads_may_stop_reading(tmp_path, monkeypatch, capsys):
    def stopped(arguments):
        raise BrokenPipeError

    monkeypatch.setattr("palpate.cli._dispatch", stopped)
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr("sys.stdout", out)
        assert finish("models") == 141
    assert capsys.readouterr().err == ""


def test_errors_are_one_message(tmp_path):
    with pytest.raises(SystemExit, match="palpate: There is no recipe"):
        main(["run", "--config", str(tmp_path / "no.yaml")])


def finish(*arguments):
    """The exit status of a command."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code


def test_data_check_counts_every_split(data_root, capsys, tmp_path):
    outcome = tmp_path / "outcome.json"
    assert finish("data", "check", "folder", "--root", str(data_root), "--json", str(outcome)) == 0
    text = capsys.readouterr().out
    for count in ("8", "4", "5", "Passed"):
        assert count in text
    assert json.loads(outcome.read_text())["passed"] is True


def test_data_check_of_no_set(tmp_path, capsys):
    assert finish("data", "check", "kvasir", "--root", str(tmp_path)) == 2
    assert "palpate: Expected kvasir in" in capsys.readouterr().err
    assert finish("data", "check") == 2  # and not: passed, no errors
    assert "palpate: Expected a data set to check" in capsys.readouterr().err


@pytest.fixture
def leaky(data_root, tmp_path):
    """A copy of the data set whose validation has a training image."""
    folder = shutil.copytree(data_root, tmp_path / "leaky")
    train = json.loads((folder / "anns" / "train.json").read_text())
    (folder / "anns" / "val.json").write_text(json.dumps(train[:1]))
    return folder


def test_data_check_of_a_leaky_set(leaky, capsys):
    assert finish("data", "check", str(leaky)) == 1
    text = capsys.readouterr().out
    assert "leak-name" in text
    assert "train0.png" in text
    assert "Failed: 1 error, " in text


def test_data_split_and_show(leaky, capsys):
    main(["data", "split", str(leaky), "--fractions", "0.5", "0.25", "0.25"])
    assert capsys.readouterr().out.strip() == str(leaky / "anns" / "seed-0")
    sheet = leaky / "sheet.png"
    main(
        ["data", "show", str(leaky), "--annotations", "seed-0", "--count", "2", "--out", str(sheet)]
    )
    assert capsys.readouterr().out.strip() == str(sheet)
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(
    "words",
    [["run"], ["run", "--data.name", "kvasir"], ["train", "--model.name", "palpate/tiny"],
     ["run", "--name", "mine"]],
)  # fmt: skip
def test_hours_of_work_do_not_begin_unasked(words, capsys):
    assert finish(*words) == 2
    said = capsys.readouterr().err
    assert f"palpate {words[0]} --config recipes/" in said
    assert "--model.name palpate/tiny --data.name phantom-endoscopy" in said


def test_the_recipes_that_there_are_are_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert finish("run") == finish("run", "--config") == 2
    assert capsys.readouterr().err.count("recipes/ has mine.yaml") == 2


def test_a_run_without_a_recipe_presses_the_model_as_it_is(
    clipseg, data_root, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    main([
        "run", "--model.name", str(clipseg), "--data.name", "folder", "--data.root",
        str(data_root), "--data.size", "32", "--evaluate.epsilon-255", "8",
        "--evaluate.sanity-samples", "0",
    ])  # fmt: skip
    folder = tmp_path / "runs" / f"{clipseg.name}-{data_root.name}"
    assert (folder / "report" / "index.html").is_file()
    assert not (folder / "checkpoint").exists()
    printed = capsys.readouterr()
    assert printed.out.strip() == str(Path("runs") / folder.name / "report" / "index.html")
    said = " ".join(printed.err.split())
    assert "attacks: 20/20" in said
    what = f"noise, fgsm, pgd at 8/255 on the test split of {data_root.name}."
    assert f"as it is, attacked with {what}" in said


def test_what_a_recipe_is_going_to_do_is_said_first(recipe):
    config = read_config(recipe())
    assert described(config).endswith(
        "fine-tuned on folder for 2 epochs (train.settings.epochs), attacked with fgsm, noise, "
        "pgd at 2, 8/255 on the test split of folder."
    )
    assert "attacked" not in described(config, attacks=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["models", "check", "x", "--adapter", "foo"],
         "Error parsing --adapter: expected one of dense-v, dense-vl, dense-vlc, shallow-v, "
         "shallow-vl, shallow-vlc, telescopic-v, telescopic-vl, telescopic-vlc, lora-v, lora-vl, "
         "or null for none, got 'foo'. See `palpate models check --help`."),
        (["evaluate"], "Expected a model and its images (palpate evaluate MODEL --images DIR"),
        (["evaluate", "--run", "x", "--attack", "fgsm"], "Did you mean --attacks?"),
        (["data", "chek"], "Did you mean 'check'?"),
        (["demo", "--fats"], "Unrecognized options: --fats."),
    ],
)  # fmt: skip
def test_a_line_that_is_not_understood_gets_one_sentence(words, said, capsys):
    assert finish(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("palpate: ")
    assert error.count("\n") == 1
    assert said in error


def test_null_means_what_it_means_in_a_recipe(recipe):
    path = str(recipe(evaluate__attacks={"fgsm": {}}))
    words = ["--model.adapter", "null", "--model.width", "null", "--train.settings.epochs", "3"]
    (config,) = configs_of("run", ["--config", path, *words]).values()
    assert config.model.adapter is None
    assert config.model.width is None


def test_options_of_models_and_picked_attacks_are_taken_from_the_line(recipe):
    path = str(recipe(evaluate__attacks={"pgd": {"steps": 3}, "fgsm": {}, "noise": {}}))
    words = ["--evaluate.attacks", "pgd", "square", "--model.options", "side", "[1, 2]", "a", "x"]
    (config,) = configs_of("run", ["--config", path, *words]).values()
    assert config.evaluate.attacks == {"pgd": {"steps": 3}, "square": {}}
    assert config.model.options == {"side": [1, 2], "a": "x"}
    assert finish("run", "--config", path, "--model.options", "side") == 2


def test_a_prepared_folder_is_found_by_its_name_below_the_root(data_root, tmp_path, capsys):
    shutil.copytree(data_root, tmp_path / "data2" / "pairs")
    assert finish("data", "check", "pairs", "--root", str(tmp_path / "data2")) == 0
    assert str(tmp_path / "data2" / "pairs").rsplit("/", 2)[-1] in capsys.readouterr().out
    assert finish("data", "check", "pairs", "--root", str(tmp_path)) == 2
    assert f"one in {tmp_path} (--root" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "message"),
    [("x.foo", "to be a picture .*png.*x.foo. Call it x.png"), ("no/x.png", "no is not there"),
     ("there.png", "there.png is a folder")],
)  # fmt: skip
def test_a_sheet_that_cannot_be_written_is_refused_before_the_data_are_read(out, message, tmp_path):
    (tmp_path / "there.png").mkdir()
    with pytest.raises(SystemExit, match=message):
        main(["data", "show", "kvasir", "--root", str(tmp_path), "--out", str(tmp_path / out)])


def test_an_option_of_a_model_that_is_no_yaml_is_named():
    with pytest.raises(SystemExit, match="value for option 'margin' that YAML can read, got"):
        main(["models", "check", "palpate/tiny", "--options", "margin", "[1"])
