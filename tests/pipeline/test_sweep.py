"""One recipe, several runs."""

import pandas as pd
import pytest
import yaml

from palpate.cli import main
from palpate.evaluation import read_rows
from palpate.pipeline.several.sweep import _leader, in_folders, read_sweep


@pytest.fixture
def sweep(values, tmp_path):
    train = {"settings": values["train"]["settings"] | {"epochs": 1}}
    quick = values | {"train": train}

    def write(each, **changes):
        path = tmp_path / "sweep.yaml"
        out = str(tmp_path / "runs")
        path.write_text(
            yaml.safe_dump({**quick, "each": each, "out": out, **changes}, sort_keys=False)
        )
        return path

    return write


def test_lists_by_setting_are_combined(sweep):
    runs = read_sweep(sweep({"seed": [0, 1], "data.prompt": ["p1", "random"]}))
    assert list(runs) == ["0-p1", "0-random", "1-p1", "1-random"]
    assert (runs["1-p1"].seed, runs["1-p1"].data.prompt) == (1, "p1")
    assert runs["1-p1"].data.size == 32  # what is beside a changed setting stays


def test_a_list_of_settings_keeps_together_what_belongs_together(sweep):
    runs = read_sweep(sweep([{"seed": 1, "data.prompt": "p1"}, {"label": "b", "seed": 2}]))
    assert list(runs) == ["1-p1", "b"]
    assert runs["b"].data.prompt == "random"


def test_labels_of_empty_values_are_folders_of_their_own(sweep, tmp_path):
    runs = in_folders(read_sweep(sweep({"data.override_prompt": ["", "a polyp", "x" * 300]})))
    assert list(runs) == ["empty", "a-polyp", "x" * 120]
    assert {config.folder.parent for config in runs.values()} == {tmp_path / "runs"}
    assert list(read_sweep(sweep([{"label": 7, "seed": 1}]))) == ["7"]


def test_what_is_said_twice_is_refused(sweep):
    path = sweep({"seed": [0, 1]})
    path.write_text(path.read_text() + "\nseed: 3\nseed: 4\n")
    with pytest.raises(ValueError, match=r"line \d+, column 1: 'seed' appears twice, first"):
        read_sweep(path)


def test_options_do_not_undo_what_tells_runs_apart(sweep, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--config", str(sweep({"seed": [0, 1]})), "--seed", "5"])
    assert "with these 0 and 1 are the same" in capsys.readouterr().err


def test_prompts_that_were_swept_are_compared_image_by_image(sweep, tmp_path):
    evaluate = {"attacks": {"noise": {}}, "epsilon_255": [8], "sanity_samples": 0, "examples": 0}
    each = [{"data.prompt": prompt, "model.adapter": None} for prompt in ("p1", "all")]
    each = [{"label": e["data.prompt"], **e} for e in each]
    main(["run", "--config", str(sweep(each, evaluate=evaluate))])
    numbers = pd.read_csv(tmp_path / "runs" / "tables" / "compare.csv")
    assert (set(numbers["first"]), set(numbers["run"])) == ({"p1"}, {"all"})
    assert set(numbers["n"]) == {len(read_rows(tmp_path / "runs" / "p1" / "rows")) // 2}
    assert (numbers.loc[numbers["attack"] == "clean", "difference"] == 0).all()


def test_a_recipe_without_each_is_one_run_in_its_own_folder(recipe, tmp_path):
    runs = read_sweep(recipe())
    assert list(runs) == [""]
    assert in_folders(runs)[""].folder == runs[""].folder


def test_runs_that_differ_only_under_attack_share_a_checkpoint(sweep):
    runs = in_folders(read_sweep(sweep({"seed": [0, 1], "evaluate.tau": [0.5, 0.2]})))
    kept = {label: config.model.checkpoint for label, config in runs.items()}
    folder = runs["0-0.5"].folder.parent
    assert kept == {
        "0-0.5": None,
        "0-0.2": folder / "0-0.5" / "checkpoint",
        "1-0.5": None,
        "1-0.2": folder / "1-0.5" / "checkpoint",
    }
    assert runs["0-0.5"].evaluate.baseline
    assert not runs["0-0.2"].evaluate.baseline


@pytest.mark.parametrize(
    ("each", "message"),
    [
        ("kvasir", r"list values for settings \(`data.name: \[kvasir, isic\]`\)"),
        ({"seed": 3}, "list values for settings"),
        ([], "list values for settings"),
        ({"seed": [1, 1]}, "that differ, got 1 twice"),
        ({"seeds": [1]}, r"seeds: there is no such setting.*seed"),
        ({1: [2]}, "to name settings such as data.name, got 1"),
        ({"name.first": ["a"]}, r"settings below 'name' .* sets 'name\.first', got "),
        ([{"label": "a/b", "seed": 1}], "'label' in 'each' .* name of a folder, got 'a/b'"),
        ([{"label": "..", "seed": 1}], "name of a folder, got '..'"),
        ([{"label": None, "seed": 1}], "name of a folder, got None"),
    ],
)
def test_what_each_cannot_be(each, message, sweep):
    with pytest.raises(ValueError, match=message):
        read_sweep(sweep(each))


@pytest.mark.parametrize(
    "each",
    [
        {"seed": [0, 1], "evaluate.protocol": ["sound", "paper"]},
        {"model.width": [4, 8], "evaluate.switches": [{}, {"storage": "png"}]},
        {"evaluate.tau": [0.5, 0.2], "evaluate.switches": [{}, {"storage": "png"}]},
        [{"label": "a"}, {"label": "b", "evaluate.protocol": "paper", "evaluate.split": "val"}],
    ],
)
def test_protocols_do_not_vary_together_with_anything_else(each, sweep):
    if isinstance(each, list):
        each = [{"seed": 0, **entry} for entry in each]
    with pytest.raises(ValueError, match=r"vary the protocol .* or something else, got both \("):
        read_sweep(sweep(each))


def test_variants_of_a_protocol_become_a_table_of_what_each_choice_is_worth(
    sweep, tmp_path, capsys
):
    evaluate = {
        "protocol": "paper", "attacks": {"pgd": {"steps": 2}}, "batch_size": 5,
        "epsilon_normalised": [0.1, 0.5], "examples": 0, "sanity_samples": 0,
    }  # fmt: skip
    each = [
        {"label": "as it is", "evaluate.switches": {"seeding": "sample"}},
        {"label": "float", "evaluate.switches": {"seeding": "sample", "storage": "float"}},
    ]
    main(["run", "--config", str(sweep(each, evaluate=evaluate))])
    page = tmp_path / "runs" / "report" / "index.html"
    assert capsys.readouterr().out.strip() == str(page)
    assert not (tmp_path / "runs" / "float" / "checkpoint").exists()
    table = pd.read_csv(tmp_path / "runs" / "tables" / "artefacts.csv", keep_default_na=False)
    own, other = (read_rows(tmp_path / "runs" / label / "rows") for label in ("as it is", "float"))
    for attack, epsilon in (("pgd", 0.5), ("pgd", 0.1)):
        one, two = (
            r[(r["attack"] == attack) & (r["epsilon"] == epsilon)]["dsc"].mean()
            for r in (own, other)
        )
        lines = table[(table["attack"] == attack) & (table["epsilon"] == epsilon)]
        by_choice = lines.set_index("choice")["dsc"]
        assert by_choice[""] == pytest.approx(one)
        assert by_choice["float"] == pytest.approx(two - one)
    assert "Effect of each choice of the protocol" in page.read_text()


def test_data_sets_of_one_protocol_become_one_report(sweep, tmp_path):
    evaluate = {"attacks": {"fgsm": {}}, "epsilon_255": [4], "batch_size": 5, "sanity_samples": 0}
    evaluate["examples"] = 0
    main(["run", "--config", str(sweep({"seed": [0]}, evaluate=evaluate, train={}, model={
        "name": yaml.safe_load(sweep([{"seed": 0}]).read_text())["model"]["name"], "adapter": None,
    }))])  # fmt: skip
    assert (tmp_path / "runs" / "report" / "index.html").is_file()


def test_runs_on_the_same_images_are_compared_with_the_first(sweep, tmp_path):
    each = [{"label": "tuned"}, {"label": "as it came", "model.adapter": None}]
    evaluate = {"attacks": {"noise": {}}, "epsilon_255": [8], "sanity_samples": 0, "examples": 0}
    main(["run", "--config", str(sweep([*({"label": e["label"], "seed": 0, **e} for e in each)],
          evaluate=evaluate))])  # fmt: skip
    numbers = pd.read_csv(tmp_path / "runs" / "tables" / "compare.csv")
    assert set(numbers["run"]) == {"as it came"}
    assert set(numbers["n"]) == {5}


def test_the_first_run_that_shares_images_leads():
    def rows(key, prompt="polyp"):
        told = {"dataset": "one", "structure": "polyp", "key": key, "prompt_level": "p1"}
        told |= {"prompt": prompt, "attack": "pgd", "norm": "linf", "epsilon": 8 / 255}
        return pd.DataFrame([told])

    assert _leader({"a": rows("1"), "b": rows("2"), "c": rows("2")}) == "b"
    assert _leader({"a": rows("1"), "b": rows("1", "one polyp"), "c": rows("1")}) == "a"
    assert _leader({"a": rows("1"), "b": rows("1", "one polyp")}) == "a"  # the image alone
    assert _leader({"a": rows("1"), "b": rows("2")}) is None


@pytest.mark.slow
def test_runs_that_share_nothing_with_the_first_are_compared_with_each_other(sweep, tmp_path):
    each = [
        {"label": "elsewhere", "data.name": "phantom-endoscopy", "data.size": 32},
        {"label": "one"},
        {"label": "other", "evaluate.batch_size": 1},
    ]
    evaluate = {"attacks": {"noise": {}}, "epsilon_255": [8], "sanity_samples": 0, "examples": 0}
    plain = {"model.adapter": None, "data.test_limit": 2}
    recipe = sweep([{**plain, **e} for e in each], evaluate=evaluate)
    main(["run", "--config", str(recipe)])
    numbers = pd.read_csv(tmp_path / "runs" / "tables" / "compare.csv")
    assert set(numbers["first"]) == {"one"}
    assert set(numbers["run"]) == {"other"}
