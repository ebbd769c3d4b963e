"""First contact of a user: help, lists, completion and names of the package, and their speed."""

import inspect
import json
import os
import re
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import palpate as pp
from palpate.cli import definitions, main
from palpate.cli.completion import candidates
from palpate.cli.definitions import Definition, constant, entries, find
from palpate.cli.tables.attack_list import added_attacks, image_attacks, text_attacks
from palpate.errors import did_you_mean

HEAVY = ["torch", "pandas", "scipy", "transformers", "matplotlib", "numpy"]
SOURCES = str(Path(__file__).parents[1] / "src")
INSTANT = [
    ["--help"], ["--version"], [], ["attacks"], ["attacks", "--help"], ["data"],
    ["report", "--help"], ["data", "split", "--help"], ["completion"],
    ["--complete", "run", "--"], ["--complete", "evaluate", "--attacks", ""],
]  # fmt: skip


def python(code, *words):
    """What Python prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


RUN = f"""
import json, sys
from palpate.cli import definitions, main
try:
    main(sys.argv[1:])
except SystemExit as stopped:
    assert not stopped.code
print()
print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""


@pytest.mark.parametrize("words", INSTANT, ids=" ".join)
def test_first_commands_do_not_import_the_heavy_libraries(words):
    *text, loaded = python(RUN, *words).strip().splitlines()
    assert json.loads(loaded) == []
    assert "".join(text)


def test_the_package_is_imported_without_the_heavy_libraries():
    code = f"import sys, palpate as pp; dir(pp); print([m for m in {HEAVY} if m in sys.modules])"
    assert python(code).strip() == "[]"


@pytest.mark.parametrize(("code", "seconds"), [("import palpate", 0.1), (RUN, 0.3)])
def test_first_contact_takes_no_time(code, seconds):
    """Measured in CPU seconds, up to three times the goal: the machine may be shared and slow."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(code, "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 3 * seconds


def test_dir_shows_the_public_names_and_nothing_else():
    assert dir(pp) == sorted(pp.__all__)
    for name in pp.__all__:
        assert getattr(pp, name) is not None
    assert pp.metrics.__name__ == "palpate.evaluation.metrics"
    assert re.match(r"\d+\.\d+|not installed", pp.__version__)


@pytest.mark.parametrize(
    ("name", "near"), [("evalute", "evaluate"), ("atacks", "attacks"), ("load_modle", "load_model")]
)
def test_a_misspelt_name_gets_the_near_one(name, near):
    with pytest.raises(AttributeError, match=f"no attribute {name!r}. Did you mean {near!r}"):
        getattr(pp, name)


def test_swapped_letters_are_found_before_other_near_names():
    assert did_you_mean("pdg", ["dag", "pdpgd", "pgd"]) == " Did you mean 'pgd'?"
    assert did_you_mean("CAMSU", ["camus", "isic"]) == " Did you mean 'camus'?"


def test_the_list_of_attacks_says_what_the_attacks_say():
    """It is read from the source; here it is compared with the functions themselves."""
    from palpate.attacks import ATTACKS

    listed = {attack.name: attack for attack in image_attacks()}
    assert list(listed) == list(ATTACKS)
    for name, attack in ATTACKS.items():
        parameters = list(inspect.signature(attack).parameters.values())[3:]
        shown = dict(option.partition("=")[::2] for option in listed[name].detail.split(", "))
        for parameter in parameters:
            if parameter.name in shown and isinstance(parameter.default, int | float | str):
                given, default = shown[parameter.name], parameter.default
                assert given == (f"{default:.4g}" if isinstance(default, float) else str(default))
        assert set(shown) - {""} <= {parameter.name for parameter in parameters}
        assert listed[name].about == first_paragraph(attack)
    # It passes its options on to pgd, and sets the loss itself.
    assert listed["segpgd"].detail == listed["pgd"].detail.replace(" loss,", "")


def test_an_attack_that_a_plugin_adds_is_listed():
    from palpate.attacks import ATTACKS

    def mine(model, images, masks, *, epsilon, strength=2, loss=None):
        """Do what :func:`palpate.attacks.pgd` does.

        And more.
        """

    assert added_attacks(ATTACKS) == []
    assert added_attacks({**ATTACKS, "mine": mine}) == [
        ("mine", "Do what palpate.attacks.pgd does.", "strength, loss")
    ]


def test_a_registry_made_of_a_dictionary_is_read(tmp_path, monkeypatch):
    (tmp_path / "names.py").write_text("_OWN = {'a': 1}\nALL = Registry('ALL', _OWN)\n")
    monkeypatch.setattr(definitions, "_ROOT", tmp_path)
    assert list(entries("palpate.names", "ALL")) == ["a"]
    with pytest.raises(LookupError, match=r"no dictionary OTHER in palpate\.names"):
        entries("palpate.names", "OTHER")


def test_the_list_of_text_attacks_says_what_these_say():
    from palpate.attacks.text import TEXT_ATTACKS, joint

    *listed, both = text_attacks()
    assert [attack.name for attack in listed] == list(TEXT_ATTACKS)
    for entry, attack in zip(listed, TEXT_ATTACKS.values(), strict=True):
        assert (entry.detail == "the same") == (attack.kind == "benign")
        if entry.name != "text-embedding":  # listed by the function that makes it
            assert entry.about == first_paragraph(attack.candidates)
    assert both.about.startswith(first_paragraph(joint))


def first_paragraph(function):
    inner = function.func if isinstance(function, partial) else function
    first = " ".join((inspect.getdoc(inner) or "").partition("\n\n")[0].split())
    return re.sub(r":\w+:`~?\.?([^`]*)`", r"\1", first)


def test_names_of_losses_and_threats_are_read_whole():
    from palpate.attacks import LOSSES
    from palpate.attacks.threats import CONSTRAINTS

    assert list(entries("palpate.attacks", "LOSSES")) == list(LOSSES)
    assert list(entries("palpate.attacks.threats", "CONSTRAINTS")) == list(CONSTRAINTS)


def test_values_are_read_through_names_and_arithmetic():
    import ast

    from palpate.attacks.medis.medis import RADIUS

    found = find("palpate.attacks.medis.medis", "RADIUS")
    assert found is not None
    assert constant(found) == RADIUS
    assert (
        constant(Definition("palpate.errors", ast.parse("-8 / 255", mode="eval").body)) == -8 / 255
    )
    assert constant(Definition("palpate.errors", ast.parse("print", mode="eval").body)) is None


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["ev"], ["evaluate"]),
        (["data", ""], ["prepare", "check", "show", "prompts", "split"]),
        (["data", "split", "--fo"], ["--folds"]),
        (["models", "check", "--pro"], ["--prompts"]),
        (["run", "--model.ch"], ["--model.checkpoint"]),
        (["evaluate", "--run", "x", "--attacks", "cos"], ["cospgd"]),
        (["run", "--evaluate.attacks", "pgd", "text-hot"], ["text-hotflip"]),
        (["attacks", "check", "hop"], ["hopskipjump"]),
        (["transfer", "--div"], ["--diversity"]),
        (["pretrain", "--student.w"], ["--student.width"]),
        (["evaluate", "--mask"], ["--masks", "--mask.values", "--mask.ignore"]),
        (["run", "--config", "rec"], []),  # names of files are bash's own
        (["nothing", "--"], ["--help"]),
    ],
)
def test_a_word_is_completed(words, found):
    assert candidates(words) == found


@pytest.mark.parametrize("command", ["run", "transfer", "data prompts"])
def test_completion_knows_every_option_of_a_command(command, capsys):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help-all" if command == "run" else "--help"])
    page = capsys.readouterr().out
    assert ("--config RECIPE" in page) == (command == "run")
    # The table of options begins each line with its name.
    shown = re.findall(r"^\W{1,4}(?:-h, )?(--[a-z][\w.-]+)", page, re.MULTILINE)
    assert len(shown) > 2
    assert set(shown) <= set(candidates([*command.split(), "--"]))


def test_bash_completes(tmp_path):
    script = tmp_path / "script"
    script.write_text(python("from palpate.cli import main; main(['completion'])"))
    test = f"""
        palpate() {{ {sys.executable} -m palpate "$@"; }}
        source {script}
        COMP_WORDS=(palpate data split --fo) COMP_CWORD=3
        _palpate
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", test],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": SOURCES},
    )  # fmt: skip
    assert done.stdout.strip() == "--folds", done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--modle.name", "x"], "--modle.name, x. Did you mean --model.name?"),
        (["run", "--modle.name", "x", "--data.name", "kvasir"], "--modle.name, x. Did you mean"),
        (["attakcs"], "Did you mean 'attacks'?"),
        (["models", "chekc"], "chekc"),
    ],
)
def test_misspelt_words_are_named_with_the_near_one(words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert said in f"{capsys.readouterr().err}{stopped.value}"


def test_a_misspelt_attack_gets_the_near_one():
    with pytest.raises(SystemExit, match=r"no attack 'pdg'.* Did you mean 'pgd'"):
        main(["attacks", "check", "pdg"])
