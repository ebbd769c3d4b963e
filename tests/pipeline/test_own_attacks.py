"""Attacks and losses of the user's own: in recipes, on the command line, and checked."""

import re

import pytest

from palpate.cli import main
from palpate.cli.tables import attack_check
from palpate.evaluation import read_rows
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import run

from .finished import few_rows
from .test_families import values

# What is pressed here need not be good at anything.
pytestmark = pytest.mark.filterwarnings("ignore:.* is made anew with random weights")

OWN = """
import torch

def press(model, images, masks, *, epsilon, share=1.0):
    points = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad((model(points) * (1 - 2.0 * masks)).sum(), points)
    return (images + share * epsilon * gradient.sign()).clamp(0, 1).detach()

def wide(model, images, masks, *, epsilon):
    return images + 3 * epsilon

def stumbles(model, images, masks, *, epsilon):
    return images + {}[epsilon]

def cropped(model, images, masks, *, epsilon):
    return images[..., 1:]

def flat(logits, masks):
    return (logits * (1 - 2.0 * masks)).mean((1, 2, 3))

def batch_mean(logits, masks):
    return logits.mean()

def factory():
    return press
"""
SMALL = {"channels": [4, 8], "strides": [2], "num_res_units": 1}


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def made(tmp_path, attacks, name="run"):
    plain = values("monai/unet", tmp_path / name)
    plain["model"] = {"name": "monai/unet", "options": SMALL, "adapter": None}
    plain["evaluate"]["attacks"] = attacks
    return config_from(plain)


def test_they_stand_in_a_recipe_beside_the_others(code, tmp_path):
    attacks = {
        "noise": {},
        "mine": {"attack": f"{code}:press", "share": 0.5},
        "pgd": {"steps": 2, "loss": f"{code}:flat"},
    }
    run(made(tmp_path, attacks))
    rows = read_rows(tmp_path / "run" / "rows")
    assert set(rows["attack"]) == {"clean", *attacks}
    mine = rows[rows["attack"] == "mine"]
    assert mine["linf"].max() == pytest.approx(4 / 255, rel=1e-3)
    assert (mine["backwards"] == 1).all()


def test_they_are_added_to_a_run_from_the_command_line(code, tmp_path, capsys):
    page = run(made(tmp_path, {"noise": {}}))
    main(["evaluate", str(tmp_path / "run"), "--attacks", f"{code}:press"])
    printed = capsys.readouterr()
    assert printed.out == f"{page}\n"  # written again, with the attack
    assert "press" in page.read_text()
    assert re.search(r"(?s)clean \d.*n = \d", printed.err)
    assert set(read_rows(tmp_path / "run" / "rows")["attack"]) == {"clean", "noise", "press"}


def test_rows_of_an_attack_that_has_changed_are_not_mixed_with_new_ones(code, tmp_path):
    config = made(tmp_path, {"mine": {"attack": f"{code}:press"}})
    run(config)
    code.write_text(OWN.replace("gradient.sign()", "gradient.sign().flip(-1)"))
    with pytest.raises(ValueError, match=r"mine\.py was changed since the rows in .* were made"):
        run(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": "{code}:prss"}, r"no function 'prss' in .*Did you mean 'press'"),
        (
            {"attack": "{code}:factory"},
            r"factory to be an attack \(model, images",
        ),
        ({"attack": "{code}:press", "shares": 1}, r"no option 'shares'.*Did you mean 'share'"),
        ({"attack": "{code}:stumbles"}, r"'mine' cannot be run: KeyError: .*line 14 of"),
        ({"attack": "{code}:cropped"}, r"'mine' to return images of shape \(1, 3, 4, 4\)"),
        ({"attack": "nowhere.py:press"}, r"There is no file .*nowhere\.py"),
        ({"attack": "pgd", "steps": 2, "loss": "{code}:batch_mean"}, "one value per image"),
    ],
)
def test_what_cannot_run_is_refused_before_any_work(options, message, code, tmp_path):
    given = {k: v.format(code=code) if isinstance(v, str) else v for k, v in options.items()}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(made(tmp_path, {"mine": given}))
    assert not (tmp_path / "run" / "rows").exists()


def test_an_attack_that_leaves_the_ball_is_named(code, tmp_path):
    with pytest.raises(ValueError, match=r"'mine'.*returned an invalid"):
        run(made(tmp_path, {"mine": {"attack": f"{code}:wide"}}))


def test_they_are_checked(code, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["attacks", "check", f"{code}:press", "--samples", "2"])
    printed = capsys.readouterr().out
    assert "fail" not in printed
    assert "palpate/tiny on 2 samples" in printed
    with pytest.raises(SystemExit, match="does not work as an attack must"):
        main(["attacks", "check", f"{code}:wide"])
    assert "returned an invalid" in capsys.readouterr().out


def test_all_are_listed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["attacks"])
    printed = capsys.readouterr().out
    assert "Goodfellow et al., 2015" in printed
    assert "text-hotflip" in printed
    assert ":func:" not in printed


def test_success_on_the_terminal_counts_the_images_that_were_found_before():
    rows = few_rows()
    lost = rows["key"].isin(sorted(rows["key"].unique())[:3])
    rows["dsc_clean"] = rows["dsc_clean"].mask(lost, 0.2)
    rows["success"] = ~lost & (rows["attack"] == "pgd")
    table = attack_check._score_table(rows)
    told = {column.header: list(column.cells) for column in table.columns}
    assert dict(zip(told["attack"], told["success"], strict=True))["pgd"] == "100 %"
    assert told["attack"][0] == "clean"
    assert set(told["n"]) == {"6"}
