"""The demo as a user meets it, with the embedded model."""

import os
import stat
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO

import pandas as pd
import pytest

from palpate.cli import main
from palpate.evaluation import read_rows
from palpate.models.files.weights import EMBEDDED
from palpate.pipeline.attacks.plan import make_plan
from palpate.pipeline.recipe import demo as of_pipeline
from palpate.pipeline.recipe.demo import MODALITIES, Effort, OwnData, demo_config
from palpate.pipeline.recipe.reading import read_config
from palpate.pipeline.stages.preparation import load_splits

from .conftest import SOURCES

with_weights = pytest.mark.skipif(
    not (EMBEDDED["palpate/tiny"] / "model.safetensors").is_file(),
    reason="palpate/tiny is not part of this checkout",
)


# A tenth of the work of --fast. What the demo says of the model then means nothing.
LITTLE = Effort(train=4, epochs=1, val=2, attacked=2, steps=2, sanity=1, examples=1)


def little(folder, *options):
    """What a little demo prints, in this process."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.setattr(of_pipeline, "_FAST", LITTLE)
        with redirect_stdout(out), redirect_stderr(err):
            main(["demo", *options])
    return out.getvalue(), err.getvalue()


def whole(folder, *options):
    """What the demo prints in a process of its own, as from the shell."""
    done = subprocess.run(
        [sys.executable, "-m", "palpate", "demo", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": SOURCES},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module", params=["little", pytest.param("whole", marks=pytest.mark.slow)])
def demo(request):
    """How the demo is started."""
    return {"little": little, "whole": whole}[request.param]


@pytest.fixture(scope="module")
def finished(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, *demo(folder, "--fast")


@with_weights
def test_the_page_is_in_the_current_directory_and_its_path_is_all_that_is_printed(finished):
    folder, printed, _ = finished
    page = "palpate-demo-endoscopy-fast/report/index.html"
    assert printed == f"{page}\n"
    assert (folder / page).stat().st_size > 50_000


@with_weights
def test_progress_and_scores_are_told(finished):
    told = finished[2]
    for stage in ("training: ", "attacks: ", "sanity: "):
        assert stage in told
    assert " left, " in told
    for line in ("before and", "after fine-tuning", "Random noise", "FGSM", "PGD", "Sanity card:"):
        assert line in told


@with_weights
@pytest.mark.slow
@pytest.mark.parametrize("demo", ["whole"], indirect=True)
def test_fine_tuning_helps_and_attacks_hurt_more_than_noise(finished):
    rows = read_rows(finished[0] / "palpate-demo-endoscopy-fast" / "rows")
    dsc = rows.groupby(["attack", "epsilon"])["dsc"].mean()
    assert len(dsc.index.unique("epsilon")) == 4
    gained = pd.read_csv(finished[0] / "palpate-demo-endoscopy-fast" / "tables" / "baseline.csv")
    assert gained["gain"].item() > 0.02
    assert dsc["clean"].item() > 0.6
    assert dsc["pgd"].max() < dsc["noise"].min() - 0.1
    assert dsc["pgd"].mean() < dsc["fgsm"].mean() < dsc["noise"].mean()


@with_weights
def test_a_second_call_reuses_what_is_done(finished, demo):
    folder, printed, _ = finished
    run = folder / "palpate-demo-endoscopy-fast"
    before = (run / "checkpoint" / "metrics.csv").read_text()  # seconds are in it
    weights = run / "checkpoint" / "weights.safetensors"
    costly = [run / "examination.json", weights, *(run / "rows").iterdir()]
    written = [path.stat().st_mtime_ns for path in costly]
    assert demo(folder, "--fast")[0] == printed
    assert (run / "checkpoint" / "metrics.csv").read_text() == before
    assert [path.stat().st_mtime_ns for path in costly] == written


@with_weights
def test_a_run_of_other_settings_is_left_alone(finished):
    folder, _, _ = finished
    out = folder / "palpate-demo-endoscopy-fast"
    with pytest.raises(SystemExit, match=r"(?s)run with other settings.*data\.name.*another --out"):
        main(["demo", "--modality", "echo", "--fast", "--out", str(out)])


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_modality_shifts_the_appearance(modality, tmp_path):
    config = demo_config(modality)
    assert config.data.appearance is not None
    assert str(config.folder) == f"palpate-demo-{modality}"
    assert config.evaluate.epsilon_255 == (1, 2, 4)
    assert set(config.evaluate.attacks) == {"noise", "fgsm", "pgd"}


def test_own_images_give_the_run_its_name_and_data(tmp_path):
    own = OwnData(tmp_path / "clinic" / "images", tmp_path / "clinic" / "masks", "polyp")
    config = demo_config(own=own, fast=True)
    assert config.data.name == "pairs"
    assert config.data.override_prompt == "polyp"
    assert config.data.images == own.images
    assert config.train.augmentation is not None
    assert str(config.folder) == "palpate-demo-clinic-fast"


def test_own_images_are_what_is_trained_on_and_attacked(data_root, tmp_path, monkeypatch):
    configs = []
    monkeypatch.setattr("palpate.cli.demo.run_own", lambda config, _: configs.append(config))
    monkeypatch.setattr(of_pipeline, "_FAST", LITTLE)
    options = ["--images", f"{data_root}/images", "--masks", f"{data_root}/masks", "--fast"]
    main(["demo", *options, "--prompt", "bright disc", "--out", str(tmp_path / "mine")])
    (config,) = configs
    assert config.folder == tmp_path / "mine"
    splits = load_splits(config, make_plan(config))
    for data in (splits.attacked, *splits.taught):
        assert {case.prompt for case in data.cases} == {"bright disc"}
    assert len(splits.attacked) == 2


@with_weights
@pytest.mark.slow
def test_own_images(data_root, tmp_path):
    options = ["--images", f"{data_root}/images", "--masks", f"{data_root}/masks", "--fast"]
    printed, _ = little(tmp_path, *options, "--prompt", "bright disc", "--out", "mine")
    assert printed == "mine/report/index.html\n"
    rows = read_rows(tmp_path / "mine" / "rows")
    assert set(rows["prompt"]) == {"bright disc"}
    assert rows["image_name"].nunique() == 2
    assert read_config(tmp_path / "mine" / "config.yaml").data.name == "pairs"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--modality", "endoscpy"], r"endoscopy, dermoscopy, echo, got 'endoscpy'.*'endoscopy'\?"),
        (["--images", "x"], r"--images DIR, --masks DIR and --prompt TEXT .*together"),
        (["--images", "a", "--masks", "b", "--prompt", "c"], r"folder of images, but .*a is not"),
    ],
)
def test_mistakes_are_one_message(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main(["demo", *options])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"cannot be written .* choose another --out"):
        main(["demo"])
