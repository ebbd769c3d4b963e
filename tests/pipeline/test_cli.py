"""The command line as a user types it."""

import pytest

from palpate.cli import main

from .conftest import shell

COMMANDS = [
    "demo", "run", "train", "pretrain", "evaluate", "report", "compare", "transfer", "data",
]  # fmt: skip


def test_without_arguments_it_says_what_it_can(capsys):
    main([])
    text = capsys.readouterr().out
    for command in ("run", "train", "evaluate", "report", "compare", "transfer", "data check"):
        assert f"palpate {command}" in text


@pytest.mark.parametrize(
    "command",
    ["demo", "run", "train", "pretrain", "evaluate", "report", "compare", "transfer", "data"],
)
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


def test_data_check_counts_every_split(data_root, capsys):
    main(["data", "check", "folder", "--root", str(data_root)])
    text = capsys.readouterr().out
    for count in ("8", "4", "5"):
        assert count in text


def test_data_check_of_a_broken_set(data_root, tmp_path):
    with pytest.raises(SystemExit, match="palpate: "):
        main(["data", "check", "kvasir", "--root", str(tmp_path)])
