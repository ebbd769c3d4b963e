"""What a recipe says about attacks besides their options: rivals and budgets."""

import pytest

from palpate.cli.commands import UsageError
from palpate.cli.recipes import configs_of
from palpate.pipeline.attacks.entries import entries, given_by_name, rivals_of
from palpate.pipeline.attacks.plan import make_plan
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import added
from palpate.pipeline.run_folder.folder import open_folder

MINE = {"pgd": {"steps": 2}, "mine": {"attack": "pgd", "steps": 3, "against": "pgd"}}


def configured(attacks, **changes):
    return config_from(
        {"model": {"name": "palpate/tiny"}, "data": {"name": "phantom-echo"}, **changes}
        | {"evaluate": {"attacks": attacks}}
    )


def test_a_plan_has_one_attack_for_each_budget_and_no_rival_among_the_options():
    plan = make_plan(configured(MINE | {"apgd": {"budgets": {"steps": [1, 2]}}}))
    assert list(plan.attacks) == ["pgd", "mine", "apgd@1", "apgd@2"]
    assert [plan.attacks[name].keywords["steps"] for name in ("mine", "apgd@2")] == [3, 2]


def test_a_rival_may_be_one_or_several():
    assert rivals_of(MINE) == {"mine": ["pgd"]}
    assert rivals_of({**MINE, "fgsm": {"against": ["pgd", "mine"]}})["fgsm"] == ["pgd", "mine"]


def test_what_an_entry_cannot_mean_is_refused():
    with pytest.raises(ValueError, match=r"`against` of attack 'a'.*got 'pdg'. Did you mean"):
        entries({"a": {"against": "pdg"}, "pgd": {}})
    with pytest.raises(ValueError, match=r"another attack of the recipe \(there is none\)"):
        entries({"pgd": {"against": "pgd"}})
    with pytest.raises(ValueError, match=r"`budgets` of attack 'pgd' to be one option with a list"):
        entries({"pgd": {"budgets": {"steps": 10}}})


def test_an_attack_given_by_name_is_called_by_its_function():
    """On ``run --evaluate.attacks`` as on ``evaluate --attacks``."""
    words = ["--model.name", "palpate/tiny", "--data.name", "phantom-echo", "--evaluate.attacks"]
    (config,) = configs_of("run", [*words, "fgsm", "mine.py:press"]).values()
    assert config.evaluate.attacks == {"fgsm": {}, "press": {"attack": "mine.py:press"}}
    again = added(config, ("fgsm", "mine.py:press"), None)
    assert again.evaluate.attacks == config.evaluate.attacks


def test_an_entry_that_is_called_as_its_code_keeps_its_name():
    known = {"mine.py:press": {"steps": 3}}
    assert given_by_name(["mine.py:press"], known) == known


def test_two_attacks_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"one attack called 'press', got b\.py:press"):
        given_by_name(["a.py:press", "b.py:press"], {})
    with pytest.raises(ValueError, match="one attack called 'pgd'"):
        given_by_name(["mine.py:pgd"], {"pgd": {"steps": 40}})
    words = ["--model.name", "palpate/tiny", "--data.name", "phantom-echo", "--evaluate.attacks"]
    with pytest.raises(UsageError, match=r"called 'press', got another by b\.py:press"):
        configs_of("run", [*words, "a.py:press", "b.py:press"])


def test_a_rival_can_be_added_to_a_run_that_has_rows(tmp_path):
    before = configured({**MINE, "mine": {"attack": "pgd", "steps": 3}}, out=str(tmp_path))
    with open_folder(before):
        pass
    with open_folder(configured(MINE, out=str(tmp_path))) as folder:
        assert "against: pgd" in (folder / "config.yaml").read_text()
    with (
        pytest.raises(ValueError, match="other settings"),
        open_folder(configured({**MINE, "mine": {"attack": "pgd", "steps": 4}}, out=str(tmp_path))),
    ):
        pass
