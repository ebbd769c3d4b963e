"""What a user can get wrong: one clear error before any work, and nothing lost."""

import json

import pytest
from filelock import FileLock

from palpate.cli import main
from palpate.evaluation import read_rows
from palpate.pipeline.recipe.reading import read_config
from palpate.pipeline.run.run import evaluate_again, make_report, run, train_only

from .conftest import shell


def refused(recipe, match, error=ValueError, **changes):
    with pytest.raises(error, match=match):
        run(read_config(recipe(**changes)))


@pytest.mark.parametrize("epsilon", [0.0313, 0, -1, 256, float("nan")])
def test_epsilon_in_another_unit(epsilon, recipe):
    refused(recipe, r"steps of an 8-bit image, 0\.1 to 255", evaluate__epsilon_255=[epsilon])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"data__name": "kvasirr"}, "data.name in kvasir, .*mean 'kvasir'"),
        ({"model__adapter": "dense"}, "adapter"),
        ({"data__sizes": 3}, r"data\.sizes: there is no such setting\. Did you mean .size.\?"),
        ({"train__settings__epochs": 0}, "epochs > 0"),
        ({"evaluate__attacks": {"fsgm": {}}}, "There is no attack 'fsgm'; expected one of"),
        ({"evaluate__attacks": {"pgd": {"loss": "mse"}}}, "There is no loss 'mse'"),
        (
            {"evaluate__attacks": {"pgd": {"step": 3}}},
            r"no option 'step'; .* Did you mean .steps.\?",
        ),
        ({"evaluate__attacks": {"pgd": {"steps": 0}}}, "'pgd' cannot be run.*steps"),
        ({"evaluate__attacks": {"pgd": {"targeted": True}}}, "'pgd' to be untargeted"),
        ({"evaluate__attacks": {"pgd": {"step_size": "1e-2"}}}, r"a text; .* as 1\.0e-2"),
        ({"evaluate__epsilon_255": []}, "it needs a radius, and there is none"),
        ({"evaluate__tau": 7}, "tau, a DSC, from 0 to below 1, got 7"),
        ({"evaluate__batch_size": 0}, "batch_size >= 1, got 0"),
        ({"evaluate__tolerance": -1}, "tolerance >= 0 pixels, got -1"),
        ({"evaluate__sanity_samples": -1}, "sanity_samples >= 0, got -1"),
        ({"evaluate__split": "tests"}, "evaluate.split"),
        ({"evaluate__medis": {"targets": ["wite"]}}, "medis: Expected some of unt.*'wite'"),
        ({"evaluate__medis": {"losses": ["bec"]}}, "medis: There is no loss 'bec'"),
        ({"evaluate__medis": {"steps": 0}}, "medis: Expected steps >= 1"),
        ({"evaluate__medis": {"epsilon_255": -1}}, "medis.epsilon_255: Expected a radius in"),
        ({"evaluate__medis": {"success_target": 2}}, r"medis: .* in \[0, 1\], got 2"),
        ({"evaluate__medis": {"limit": 0}}, "medis: Expected limit >= 1, got 0"),
        ({"evaluate__attacks": {"medis-tables": {"target": []}}}, "no option 'target'.*'targets'"),
        (
            {"evaluate__attacks": {"tables": {"attack": "medis-tables", "losses": ["bec"]}}},
            "(?s)Attack 'tables' cannot be used.*There is no loss 'bec'",
        ),
        (
            {"evaluate__attacks": {"medis-tables": {}}, "evaluate__medis": {"limit": 1}},
            "Expected MedIS once",
        ),
        ({"data__prompt": "p7"}, "p7"),
    ],
)
def test_settings_that_cannot_be(changes, match, recipe, tmp_path):
    refused(recipe, match, **changes)
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_all_faults_are_listed_at_once(recipe):
    with pytest.raises(ValueError, match=r"(?s)data\.size.*evaluate\.batch_size"):
        read_config(recipe(data__size="big", evaluate__batch_size="many"))


def test_neither_model_nor_recipe_of_one(recipe):
    refused(recipe, "model.name .* or model.build", model__name=None)


def test_recipe_that_is_not_there(tmp_path, recipe):
    recipe()
    with pytest.raises(FileNotFoundError, match=r"beside it: recipe\.yaml"):
        read_config(tmp_path / "recipes.yaml")


def test_recipe_that_is_not_yaml_is_named_with_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ndata: {name: kvasir\nseed: 1\n")
    with pytest.raises(
        ValueError, match=r"mine\.yaml is not readable YAML: line 3, column \d+: exp"
    ):
        read_config(path)


def test_model_directory_that_is_no_clipseg(recipe, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "bert"}))
    refused(recipe, "bert", model__name=str(other))


def test_data_that_is_not_there_is_found_before_the_folder_is_made(recipe, tmp_path):
    refused(recipe, "nowhere", FileNotFoundError, data__root=str(tmp_path / "nowhere"))
    assert not (tmp_path / "run").exists()


def test_run_folder_that_cannot_be_written(recipe, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(recipe, "cannot be written", PermissionError, out=str(tmp_path / "file" / "run"))


def test_a_folder_that_is_in_use(recipe):
    path = recipe()
    config = read_config(path)
    config.folder.mkdir()
    with (
        FileLock(config.folder / ".lock"),
        pytest.raises(SystemExit, match=r"^palpate: Another process is working in"),
    ):
        main(["run", "--config", str(path)])


@pytest.mark.slow
def test_second_process_in_the_same_folder(recipe, tmp_path):
    config = read_config(recipe())
    config.folder.mkdir()
    with FileLock(config.folder / ".lock"):
        done = shell("run", "--config", str(tmp_path / "recipe.yaml"))
    assert done.returncode == 1
    assert "\npalpate: Another process is working in" in done.stderr
    assert "Traceback" not in done.stderr


def test_folder_of_a_run_with_other_settings(recipe):
    small = {"evaluate__attacks": {"fgsm": {}}, "evaluate__epsilon_255": [2]}
    config = read_config(recipe(**small))
    run(config)
    before = read_rows(config.folder / "rows")
    refused(recipe, r"data\.prompt: 'random' there, 'p1' now", data__prompt="p1", **small)
    refused(recipe, r"epochs: 2 there, 3 now", train__settings__epochs=3, **small)
    assert read_rows(config.folder / "rows").equals(before)
    # What changes no number may change.
    free = {
        "evaluate__batch_size": 3,
        "evaluate__workers": 2,
        "train__settings__workers": 2,
        "data__cache": str(config.folder.parent / "cache"),
    }
    run(read_config(recipe(name="renamed", **free, **small)))


def test_checkpoint_of_another_base(recipe, clipseg, tmp_path):
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()
    for file in clipseg.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    train_only(read_config(recipe(model__name=str(other))))
    weights = load_file(other / "model.safetensors")
    first = sorted(weights)[0]
    weights[first] = weights[first] + 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    refused(recipe, "other settings, data or base weights", model__name=str(other))


@pytest.mark.parametrize(("command", "status"), [("verify", 2), ("rerun", 2), ("gate", 1)])
def test_a_folder_of_runs_names_them_with_the_command_for_each(
    command, status, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("kvasir", "isic 1"):
        (tmp_path / "sweep" / name).mkdir(parents=True)
        (tmp_path / "sweep" / name / "config.yaml").touch()
    with pytest.raises(SystemExit) as stopped:
        main([command, "sweep"])
    said = capsys.readouterr().err if status == 2 else stopped.value.code
    assert f"  palpate {command} 'sweep/isic 1'\n  palpate {command} sweep/kvasir" in said
    assert (stopped.value.code == 2) == (status == 2)


def test_not_a_run_folder(tmp_path):
    for call in (make_report, lambda folder: evaluate_again(folder, None, None)):
        with pytest.raises(FileNotFoundError, match="is not a run folder"):
            call(tmp_path)


def test_loss_that_is_not_a_number_stops_the_training(recipe):
    refused(
        recipe, "Lower the learning rate", FloatingPointError,
        train__settings__learning_rate=1e30, train__settings__epochs=3,
    )  # fmt: skip


def test_a_model_without_gradient_is_no_robust_model(recipe, clipseg, tmp_path):
    """Its decoder answers the same whatever it sees; the sanity card must not pass it."""
    from safetensors.torch import load_file, save_file

    dead = tmp_path / "dead"
    dead.mkdir()
    for file in clipseg.iterdir():
        (dead / file.name).write_bytes(file.read_bytes())
    weights = load_file(dead / "model.safetensors")
    last = [name for name in weights if "transposed_convolution" in name and "weight" in name][-1]
    weights[last] = weights[last] * 0
    save_file(weights, dead / "model.safetensors", {"format": "pt"})
    config = read_config(
        recipe(
            model__name=str(dead),
            model__adapter=None,
            evaluate__epsilon_255=[8],
            evaluate__attacks={"pgd": {"steps": 2}},
            evaluate__sanity_samples=2,
        )
    )
    with pytest.warns(RuntimeWarning, match="zero at every pixel"):
        page = run(config)
    card = json.loads((config.folder / "sanity.json").read_text())
    assert "fail" in {check["status"] for check in card}
    assert "There is no gradient to follow" in page.read_text(encoding="utf-8")


def test_the_older_setting_of_medis_becomes_an_attack(recipe):
    older = {"limit": 3, "targets": ["white"], "epsilon_255": 5}
    with pytest.warns(FutureWarning, match="evaluate.medis is deprecated.*medis-tables"):
        config = read_config(recipe(evaluate__medis=older))
    assert config.evaluate.medis is None
    assert config.evaluate.attacks["medis-tables"] == older | {"epsilon_255": 5.0}
    assert read_config(recipe(evaluate__attacks=config.evaluate.attacks)) is not None
