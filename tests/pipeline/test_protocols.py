"""The protocols of recipes, from plain values to rows."""

import pandas as pd
import pytest
import torch

from palpate.attacks import ATTACKS, pgd, published_noise, published_pgd
from palpate.cli.tables.scores import show_scores
from palpate.evaluation import PAPER, SOUND, read_rows
from palpate.pipeline.recipe.protocols import choices_of
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import run

SOUND_SWITCHES = {
    "space": "pixel", "clamp": True, "step": "scaled", "start": "random", "keep": "dice",
    "loss": "logits", "prompts": "fixed", "storage": "float", "naming": "sample",
    "seeding": "sample", "truth": "binary",
}  # fmt: skip


def test_sound_is_what_it_was_and_paper_is_the_study():
    assert choices_of("sound", {}).protocol == SOUND
    assert choices_of("sound", {}).options == {}
    paper = choices_of("paper", {})
    assert paper.protocol == PAPER
    assert paper.options["fgsm"] == (
        published_pgd,
        {
            "equal_channels": False, "clamp": False, "step_size": None, "random_start": False,
            "keep": "last", "loss": None, "steps": 1,
        },
    )  # fmt: skip
    assert paper.options["pgd"][1]["step_size"] == 2 / 255
    assert paper.options["noise"][0] is published_noise


@pytest.mark.parametrize(("switch", "setting"), SOUND_SWITCHES.items())
def test_every_switch_changes_one_thing_and_the_name(switch, setting):
    paper, switched = choices_of("paper", {}), choices_of("paper", {switch: setting})
    assert switched.protocol.name == f"paper, {switch}={setting}"
    before, after = ({**vars(c.protocol), **c.options["pgd"][1]} for c in (paper, switched))
    assert len([k for k in before if k != "name" and before[k] != after[k]]) == 1


def test_all_switches_thrown_are_the_sound_attack(tmp_path):
    """In a cube: with equal channels the normalised ball is one of pixels."""
    form, options = choices_of("paper", SOUND_SWITCHES).options["pgd"]
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    masks = images.mean(1, keepdim=True) > 0.5

    def model(x):
        return (x - 0.5).sum(1, keepdim=True)

    std = (0.25, 0.25, 0.25)
    ours, theirs = (
        attack(model, images, masks, epsilon=epsilon, steps=4, generator=random(), **more)
        for attack, epsilon, more in [
            (pgd, 0.02, {"step_size": 0.25 * 2.5 * 0.08 / 4}),
            (form, 0.08, dict(options) | {"std": std}),
        ]
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def random():
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize(
    ("name", "switches", "message"),
    [
        ("paper", {"storag": "png"}, r"no switch 'storag'.*Did you mean 'storage'\?"),
        ("paper", {"space": "lab"}, "space of a protocol to be one of normalised, pixel"),
        ("paper", {"storage": "gif"}, "storage of a protocol to be one of"),
        ("sound", {"clamp": False}, "no switch 'clamp' of this protocol"),
    ],
)
def test_switches_that_do_not_exist(name, switches, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        choices_of(name, switches)


def test_a_run_under_the_paper_protocol(values, tmp_path):
    evaluate = values["evaluate"] | {
        "protocol": "paper", "epsilon_normalised": [0.03, 0.5],
        "attacks": {"unchanged": {}, "noise": {}, "fgsm": {}, "pgd": {"steps": 3}},
        "switches": {"seeding": "sample"},
    }  # fmt: skip
    page = run(config_from(values | {"evaluate": evaluate, "out": str(tmp_path / "run")}))
    rows = read_rows(tmp_path / "run" / "rows")
    assert set(rows["protocol"]) == {"paper, seeding=sample"}
    assert set(read_rows(tmp_path / "run" / "baseline")["protocol"]) == {"paper, seeding=sample"}
    attacked = rows[rows["attack"] != "clean"]
    assert set(attacked["norm"]) == {"normalised"}
    assert set(attacked["epsilon"]) == {0.03, 0.5}
    assert "paper, seeding=sample" in page.read_text()
    assert "standard deviations of its channel" in page.read_text()


def test_an_attack_without_a_published_form_is_refused(values):
    evaluate = values["evaluate"] | {
        "protocol": "paper",
        "attacks": {"margin-pgd": {"attack": "pgd"}},
    }
    config = config_from(values | {"evaluate": evaluate})
    from palpate.pipeline.attacks.plan import make_plan

    assert make_plan(config).attacks["margin-pgd"].func is published_pgd
    assert "published_pgd" in ATTACKS
    evaluate = evaluate | {"attacks": {"published_pgd": {}}}
    with pytest.raises(ValueError, match="has no published form"):
        make_plan(config_from(values | {"evaluate": evaluate}))


def test_radii_on_the_terminal_have_the_unit_of_their_norm(tmp_path, capsys):
    line = {
        "facet": "kvasir", "structure": "polyp", "n": 12, "dsc": 0.5, "dsc_low": 0.4,
        "dsc_high": 0.6,
    }  # fmt: skip
    scores = [
        line | {"attack": "clean", "norm": "", "epsilon": 0.0},
        line | {"attack": "fgsm", "norm": "normalised", "epsilon": 0.03},
        line | {"attack": "pgd", "norm": "linf", "epsilon": 2 / 255},
    ]
    (tmp_path / "tables").mkdir()
    pd.DataFrame(scores).to_csv(tmp_path / "tables" / "main.csv", index=False)
    show_scores(tmp_path)
    heads = next(line for line in capsys.readouterr().err.splitlines() if "2/255" in line)
    assert heads.split() == ["2/255", "0.03"]
