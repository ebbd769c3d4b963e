"""The command line as a user types it."""

import json
import shutil

import pytest
from PIL import Image

from palpate.cli import main

from .conftest import shell

COMMANDS = [
    "demo", "run", "train", "pretrain", "evaluate", "report", "compare", "transfer", "data",
    "models",
]  # fmt: skip


def test_without_arguments_it_says_what_it_can(capsys):
    main([])
    text = capsys.readouterr().out
    for command in ("run", "train", "evaluate", "report", "compare", "transfer", "data check"):
        assert f"palpate {command}" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_knows_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_unknown_command_lists_the_known_ones():
    with pytest.raises(
        SystemExit, match=rf"{', '.join(COMMANDS)}, got 'evalute'.*mean .evaluate.\?"
    ):
        main(["evalute"])


def test_a_run_from_the_shell(recipe, tmp_path):
    path = recipe(evaluate__attacks={"fgsm": {}}, evaluate__epsilon_255=[2])
    arguments = ["run", "--config", str(path), "--evaluate.epsilon-255", "4"]
    done = shell(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "run" / "report" / "index.html")
    assert "attacks: 10/10" in done.stderr
    assert "epsilon_255:\n  - 4" in (tmp_path / "run" / "config.yaml").read_text()


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
