from collections import Counter

import pytest

from palpate.data import PromptPolicy, load_data

from .conftest import DataFolder

PROMPTS = {"p0": ("",), "p1": ("polyp",), "p2": ("round", "circular", "disc"), "p3": ("pink",)}


def chosen(policy, key, *epoch):
    (level,) = policy.levels(PROMPTS, key, *epoch)
    return level, policy.text(PROMPTS, level, key, *epoch)


def test_random_is_uniform_over_the_levels_with_a_text_then_over_phrasings():
    drawn = [chosen(PromptPolicy(), f"image-{i}") for i in range(3000)]
    levels = Counter(level for level, _ in drawn)
    phrasings = Counter(text for level, text in drawn if level == "p2")
    assert set(levels) == {"p1", "p2", "p3"}
    assert all(abs(count - 1000) < 130 for count in levels.values())  # five standard deviations
    assert set(phrasings) == {"round", "circular", "disc"}
    assert all(abs(count - 333) < 85 for count in phrasings.values())


def test_a_sample_keeps_its_prompt_whatever_else_is_in_the_run(tmp_path):
    one = DataFolder(tmp_path / "one").add("b.png").write()
    two = DataFolder(tmp_path / "two").add("a.png").add("b.png").write()
    for seed in range(5):
        alone = load_data("folder", one.path, seed=seed).cases[0]
        among = load_data("folder", two.path, seed=seed).cases[1]
        assert alone == among


@pytest.mark.parametrize("prompt", ["random", "p2"])  # the level, and the phrasing alone
def test_seed_and_epoch_draw_anew(prompt):
    keys = [f"image-{i}" for i in range(50)]
    column = 0 if prompt == "random" else 1
    draws = [
        [chosen(PromptPolicy(prompt, seed=seed), key, *epoch)[column] for key in keys]
        for seed, epoch in ((0, ()), (1, ()), (0, (0,)), (0, (1,)))
    ]
    assert all(a != b for i, a in enumerate(draws) for b in draws[:i])
    assert draws[0] == [chosen(PromptPolicy(prompt, seed=0), key)[column] for key in keys]


def test_a_fixed_level_with_phrasings_draws_one_by_key():
    texts = [chosen(PromptPolicy("p2"), f"image-{i}") for i in range(60)]
    assert {level for level, _ in texts} == {"p2"}
    assert {text for _, text in texts} == set(PROMPTS["p2"])


def test_a_level_says_the_same_under_every_policy():
    for i in range(20):
        key = f"image-{i}"
        level, text = chosen(PromptPolicy(), key)
        assert chosen(PromptPolicy(level), key) == (level, text)
        assert PromptPolicy("all").text(PROMPTS, level, key) == text


def test_all_gives_one_sample_per_level(data_folder):
    data = load_data("folder", data_folder.write().path, prompt="all")
    assert len(data) == 8
    assert [case.key for case in data.cases[:4]] == ["a#p0", "a#p1", "a#p2", "a#p3"]
    assert [case.prompt_level for case in data.cases[4:]] == ["p0", "p1", "p2", "p3"]
    assert data.cases[0].prompt == ""
    assert data[5].image.equal(data[4].image)


@pytest.mark.parametrize("prompt", ["all", "random", "p3", "no such level"])
def test_an_override_replaces_every_prompt(prompt, data_folder):
    data = load_data("folder", data_folder.write().path, prompt=prompt, override_prompt="lesion")
    assert [(c.key, c.prompt, c.prompt_level) for c in data.cases] == [
        ("a", "lesion", "override"),
        ("b", "lesion", "override"),
    ]


def test_an_empty_override_is_a_text_too(data_folder):
    data = load_data("folder", data_folder.write().path, override_prompt="")
    assert data.cases[0].prompt == ""
    assert data.cases[0].prompt_level == "override"


def test_with_epoch_redraws_prompts_and_leaves_the_original_alone(tmp_path):
    folder = DataFolder(tmp_path / "set")
    for i in range(30):
        folder.add(f"{i}.png")
    data = load_data("folder", folder.write().path)
    before = [case.prompt for case in data.cases]
    epochs = [[case.prompt for case in data.with_epoch(e).cases] for e in (1, 2)]
    assert before != epochs[0] != epochs[1]
    assert [case.prompt for case in data.cases] == before
    assert [case.prompt for case in data.with_epoch(1).cases] == epochs[0]
    assert [case.key for case in data.with_epoch(1).cases] == [case.key for case in data.cases]
