"""Tests that commands, code, names and links in README, docs and recipes work as written."""

import ast
import re
import shlex
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from inspect import signature
from operator import attrgetter
from pathlib import Path

import pytest
import yaml
from PIL import Image

import palpate as pp
from palpate.attacks import ATTACKS
from palpate.attacks.text import TEXT_ATTACKS
from palpate.cli import main
from palpate.data import DATASETS
from palpate.data.wording.wordings import read_wording
from palpate.models.files.weights import EMBEDDED
from palpate.reporting.acceptance.criteria import read_criteria

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CARD = ROOT / "src" / "palpate" / "models" / "tiny" / "README.md"
PAGES = [*sorted(ROOT.glob("*.md")), CARD, *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ATTACK_NAMES = {*ATTACKS, *TEXT_ATTACKS, "joint", "medis-tables"}
UNKNOWN = "--no-such-option"  # makes the command line stop after it has read all other words

with_weights = pytest.mark.skipif(
    not (EMBEDDED["palpate/tiny"] / "model.safetensors").is_file(),
    reason="palpate/tiny is not part of this checkout",
)


def text_of(path):
    return path.read_text(encoding="utf-8")


def blocks(path, language=""):
    """The fenced blocks of a page that are in one language; shell commands have none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(path), flags=re.MULTILINE | re.DOTALL)
    return [body for name, body in found if name == language]


def spans(path):
    """Inline code of a page, outside of blocks; a span may continue on the next line."""
    prose = re.sub(r"^```.*?^```$", "", text_of(path), flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", prose)]


def commands(path) -> Iterator[str]:
    """Shell commands that a page or the comments of a recipe give, as they are to be typed."""
    if path.suffix == ".yaml":
        comments = "\n".join(re.findall(r"^# ?(.*)$", text_of(path), flags=re.MULTILINE))
        yield from re.findall(r"^ *(palpate \w.*?)(?: {2,}#.*)?$", comments, flags=re.MULTILINE)
        return
    for block in blocks(path):
        yield from (line.partition(" #")[0].strip() for line in block.splitlines() if line.strip())
    yield from (span for span in spans(path) if re.match(r"(palpate|make|pip|python) \S", span))


EVERY = [(page.name, command) for page in [*PAGES, *RECIPES] for command in commands(page)]
PALPATE = sorted({command for _, command in EVERY if command.startswith("palpate ")})
# Named in passing, such as `palpate data check`; all others are meant to be typed as they are.
NAMED = [each for each in PALPATE if re.fullmatch(r"palpate( [a-z]+){1,2}", each)]
COMPLETE = [each for each in PALPATE if each not in NAMED and not each.endswith(("help", "sion"))]


def complaint(words, capsys):
    """The error of the command line for these words followed by an unknown option."""
    with pytest.raises(SystemExit) as stopped:
        main([*words, UNKNOWN])
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("command", COMPLETE)
def test_the_command_line_knows_every_option_of_a_command(command, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)[1:]
    recipe = words[words.index("--config") + 1] if "--config" in words else ""
    if recipe and not (ROOT / recipe).is_file():  # one of the reader's, shown on the page
        words[words.index(recipe)] = "recipes/kvasir.yaml"
    said = complaint(words, capsys).partition("See `")[0].partition("Did you mean")[0]
    assert UNKNOWN in said
    for word in words:
        if word.startswith("--"):
            assert not re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", said), said


def test_an_option_that_does_not_exist_is_found(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["run", "--config", "recipes/kvasir.yaml", "--data.nmae", "kvasir"]
    assert "--data.nmae" in complaint(words, capsys)


def test_commands_named_in_passing_exist(capsys):
    main(["--help"])
    overview = capsys.readouterr().out
    for named in NAMED:
        words = named.split()
        grouped = words[1] in ("data", "models", "attacks")  # `palpate verify FOLDER` is not
        command = named if grouped else f"palpate {words[1]}"
        assert re.search(rf"\b{re.escape(command)}\b", overview), command


def test_data_and_attacks_named_in_commands_exist():
    for command in COMPLETE:
        words = shlex.split(command)
        for option in ("--data.name", "--data.test-name"):
            for name in values_of(option, words):
                parts = name.split("+")
                assert name.startswith(("hf:", "pooled-")) or {*parts} <= {*DATASETS, "pairs"}, name
        for option in ("--attacks", "--evaluate.attacks"):
            for name in values_of(option, words):
                assert name in ATTACK_NAMES or ".py:" in name, name


def values_of(option, words):
    if option not in words:
        return []
    rest = words[words.index(option) + 1 :]
    until = next((i for i, word in enumerate(rest) if word.startswith("--")), len(rest))
    return rest[:until]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_every_recipe_can_be_read(recipe, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = "pretrain" if recipe.name == "tiny.yaml" else "run"
    assert UNKNOWN in complaint([command, "--config", str(recipe)], capsys)


YAML = [(page.name, block) for page in PAGES for block in blocks(page, "yaml")]


@pytest.mark.parametrize(("page", "block"), YAML, ids=[page for page, _ in YAML])
def test_parts_of_recipes_and_templates_can_be_read(page, block, tmp_path, capsys):
    if page == "prompts.md":  # its blocks are templates of prompts
        (tmp_path / "templates.yaml").write_text(block)
        assert read_wording(tmp_path / "templates.yaml").levels
        return
    values = yaml.safe_load(block)
    if "criteria" in values:
        assert len(read_criteria(values, page).criteria) == len(values["criteria"])
        return
    recipe = {"data": {"name": "kvasir"}, "model": {"name": "palpate/tiny"}} | values
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert UNKNOWN in complaint(["run", "--config", str(tmp_path / "recipe.yaml")], capsys)
    for name, options in recipe.get("evaluate", {}).get("attacks", {}).items():
        attack = options.get("attack", name)
        if ".py:" in attack:
            continue
        assert attack in ATTACK_NAMES
        given = {*options} - {"attack", "fit", "against", "budgets"}
        if attack in ATTACKS:
            assert given <= {*signature(ATTACKS[attack]).parameters}, attack


def test_make_targets_and_scripts_exist():
    targets = re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), flags=re.MULTILINE)
    for page, command in EVERY:
        words = shlex.split(command)
        if words[0] == "make":
            assert words[1] in targets, f"{page}: {command}"
        if words[0] == "python":
            assert (ROOT / words[1]).is_file(), f"{page}: {command}"


def test_no_message_advises_an_install_that_no_index_has():
    sources = [*(ROOT / "src").rglob("*.py"), *PAGES]
    assert [path.name for path in sources if "palpate[" in text_of(path)] == []


def test_extras_and_wheel_are_those_of_the_project():
    extras = set(PROJECT["optional-dependencies"])
    installs = [command for _, command in EVERY if command.startswith("pip install")]
    assert any("volumes" in command for command in installs)
    for command in installs:
        assert "palpate[" not in command, f"{command}: there is no release on an index"
        for named in re.findall(r"\[([\w,]+)\]", command):
            assert set(named.split(",")) <= extras, command
        for wheel in re.findall(r"palpate-([\d.]+)-py3", command):
            assert wheel == PROJECT["version"], command


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_named_in_a_page_exist(page):
    for span in [*spans(page), *(c for name, c in EVERY if name == page.name)]:
        for path in re.findall(r"(?<![\w/.])(?:recipes|docs|tests|src)/[\w./-]*\w", span):
            assert (ROOT / path).exists(), span


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(path):
    """The anchors of the headings of a page, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```$", "", text_of(path), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_attack_and_data_set_is_documented():
    told = text_of(ROOT / "docs" / "attacks.md")
    assert [name for name in sorted(ATTACK_NAMES) if f"`{name}`" not in told] == []
    told = text_of(ROOT / "docs" / "data.md")
    assert [name for name in DATASETS if f"`{name}`" not in told] == []


def test_names_in_the_tables_of_the_readme_exist():
    section = text_of(README).partition("## Attacks")[2].partition("## Models")[0]
    for row in re.findall(r"^\| .*\|$", section, flags=re.MULTILINE)[1:]:
        assert {*re.findall(r"`([\w-]+)`", row)} <= ATTACK_NAMES, row


def test_the_readme_is_short_before_its_first_table_and_begins_with_a_picture():
    lines = text_of(README).splitlines()
    assert next(i for i, line in enumerate(lines) if line.startswith("|")) <= 70
    assert next(i for i, line in enumerate(lines) if line.startswith("![")) <= 25
    assert len(re.findall(r"\bpress", text_of(README), flags=re.IGNORECASE)) <= 1


PYTHON = [(page.name, block) for page in PAGES for block in blocks(page, "python")]
python_examples = pytest.mark.parametrize(("page", "block"), PYTHON, ids=[p for p, _ in PYTHON])


@python_examples
def test_python_examples_name_functions_and_arguments_that_exist(page, block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("pp."):
            function = attrgetter(ast.unparse(node.func).removeprefix("pp."))(pp)
            given = {keyword.arg: None for keyword in node.keywords}
            signature(function).bind(*node.args, **given)
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith("pp."):
            attrgetter(ast.unparse(node).removeprefix("pp."))(pp)


@pytest.mark.slow
@with_weights
@python_examples
def test_python_examples_run(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(block, page, "exec"), names)
    if page == "README.md":
        dsc = names["rows"].groupby("attack")["dsc"].mean()
        assert dsc["pgd"] < dsc["noise"]
        assert (tmp_path / "report" / "report" / "index.html").is_file()


def test_the_commands_for_two_folders_of_images_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("images", "masks"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    data = pp.load_data("phantom-endoscopy", size=64, prompt="p1", limit=12)
    for number, sample in enumerate(data):
        for name, pixels in (("images", sample.image), ("masks", sample.mask)):
            grey = (pixels.float() * 255).byte().permute(1, 2, 0).numpy()
            picture = Image.fromarray(grey.squeeze())
            picture.save(tmp_path / "mine" / name / f"{number}.png")
    verbs = []
    for command in dict.fromkeys(commands(ROOT / "docs" / "data.md")):
        words = shlex.split(command)[1:]
        if words[0] == "data" and words[2:3] in (["pairs"], ["data/pairs"]):
            status = 0
            try:
                main(words)
            except SystemExit as stopped:  # how `check` says whether it found anything
                status = stopped.code
            assert status == 0, capsys.readouterr()
            verbs.append(words[1])
    assert verbs == ["prepare", "check", "show", "split", "prompts"]
    assert (tmp_path / "pairs.png").is_file()
    assert len(list((tmp_path / "data" / "pairs" / "anns").glob("*/*/"))) == 3  # folds


def test_the_picture_of_the_stages_is_up_to_date(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "scripts")
    try:
        from make_architecture import PICTURE, description
    finally:
        sys.modules.pop("make_architecture", None)
    tags = ElementTree.parse(PICTURE).iter("{http://purl.org/dc/elements/1.1/}description")
    assert next(tags).text == description(), "run python docs/scripts/make_architecture.py"


def test_the_citation_is_that_of_this_version():
    cited = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == PROJECT["version"]
    assert cited["title"] == PROJECT["name"]
    assert cited["license"] == PROJECT["license"]
    assert all("name" in author for author in cited["authors"])
    assert cited["message"]
