"""A training that was stopped ends where an uninterrupted one does, bit by bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from palpate.data import Augmentation, load_data
from palpate.models import load_model
from palpate.training import pretrain

from .conftest import SIDE
from .runs import EPOCHS, STEPS, Stopped, same_tensors, settings, table, tensors, tune


def equal_runs(one, other):
    same_tensors(tensors(one), tensors(other))
    same_tensors(tensors(one, "weights.safetensors"), tensors(other, "weights.safetensors"))
    assert table(one) == table(other)
    cards = [json.loads((folder / "palpate.json").read_text()) for folder in (one, other)]
    for card in cards:
        del card["training"]["reached"]["seconds"], card["training"]["reached"]["peak_memory_mb"]
    assert cards[0] == cards[1]


@pytest.fixture(
    scope="module", params=["dense-v", pytest.param("shallow-vl", marks=pytest.mark.slow)]
)
def uninterrupted(request, model_folder, data_root, tmp_path_factory):
    """The adapter and the folder of a whole training."""
    out = tmp_path_factory.mktemp("uninterrupted")
    splits = [load_data("folder", data_root, split=s, size=SIDE) for s in ("train", "val")]
    tune(model_folder, *splits, out, adapter=request.param)
    assert len(table(out)) == EPOCHS
    return request.param, out


@pytest.mark.parametrize(
    "epochs", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_stopped_at_any_epoch_it_goes_on_to_the_same_end(
    epochs, uninterrupted, model_folder, train_data, val_data, tmp_path
):
    adapter, whole = uninterrupted
    arguments = (model_folder, train_data, val_data, tmp_path)
    with pytest.raises(Stopped):
        tune(*arguments, adapter=adapter, stop_after=epochs * STEPS + 1)
    assert len(table(tmp_path)) == epochs
    tune(*arguments, adapter=adapter)
    equal_runs(tmp_path, whole)


def test_stopped_again_and_again_it_still_gets_there(
    uninterrupted, model_folder, train_data, val_data, tmp_path
):
    adapter, whole = uninterrupted
    arguments = (model_folder, train_data, val_data, tmp_path)
    for steps in (2, STEPS + 2, 2 * STEPS + 1, 3 * STEPS + 3):
        with pytest.raises(Stopped):
            tune(*arguments, adapter=adapter, stop_after=steps)
    tune(*arguments, adapter=adapter)
    equal_runs(tmp_path, whole)


def test_what_is_dropped_is_the_same_after_a_stop(model_folder, train_data, val_data, tmp_path):
    arguments = (model_folder, train_data, val_data)
    tune(*arguments, tmp_path / "whole", dropped=0.3)
    torch.manual_seed(1)  # another process starts elsewhere
    before = torch.get_rng_state()
    with pytest.raises(Stopped):
        tune(*arguments, tmp_path / "stopped", dropped=0.3, stop_after=STEPS + 2)
    assert torch.equal(torch.get_rng_state(), before)
    tune(*arguments, tmp_path / "stopped", dropped=0.3)
    equal_runs(tmp_path / "stopped", tmp_path / "whole")


KILLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from palpate.data import load_data
from palpate.models import load_model
from palpate.training import TrainingSettings, train

def progress(stage, done, total, note=""):
    if done == {at}:
        os.kill(os.getpid(), signal.SIGKILL)

train(
    load_model({model!r}, "dense-v", width=4),
    *(load_data("folder", {data!r}, split=split, size={side}) for split in ("train", "val")),
    Path({out!r}),
    TrainingSettings(**{settings!r}),
    progress=progress,
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("uninterrupted", ["dense-v"], indirect=True)
def test_killed_in_mid_epoch_it_goes_on_to_the_same_end(
    uninterrupted, model_folder, data_root, train_data, val_data, tmp_path
):
    script = KILLED.format(
        at=2 * STEPS + 2,
        model=str(model_folder),
        data=str(data_root),
        side=SIDE,
        out=str(tmp_path),
        settings=vars(settings()),
    )
    source = Path(__file__).parents[2] / "src"
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(table(tmp_path)) == 2
    tune(model_folder, train_data, val_data, tmp_path, adapter="dense-v")
    equal_runs(tmp_path, uninterrupted[1])


def test_a_finished_training_is_not_done_again(
    uninterrupted, model_folder, train_data, val_data, tmp_path
):
    adapter, whole = uninterrupted
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "metrics.csv").unlink()  # as if killed just before it was written
    model = tune(model_folder, train_data, val_data, tmp_path, adapter=adapter, stop_after=1)
    equal_runs(tmp_path, whole)
    learned = dict(model.named_parameters())
    for name, tensor in tensors(tmp_path).items():
        if name.startswith("weight/"):
            assert torch.equal(learned[name.removeprefix("weight/")], tensor)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 2e-2},
        {"batch_size": 5},
        {"seed": 2},
        {"precision": "bf16"},
        {"adapter": "dense-v"},
        {"augmentation": Augmentation(flip_horizontal=0.5)},
    ],
    ids=str,
)
def test_other_settings_in_the_same_folder_are_refused(
    changes, model_folder, train_data, val_data, stopped
):
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    with pytest.raises(ValueError, match="holds a training with other settings, data or base"):
        tune(model_folder, train_data, val_data, stopped, **changes)
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before


def other_data(data_root, **changes):
    wanted = {"split": "train", "size": SIDE, "check": False}
    return load_data("folder", data_root, **(wanted | changes))


@pytest.mark.parametrize(
    "changes", [{"prompt": "p1"}, {"seed": 1}, {"limit": 9}, {"size": 48}], ids=str
)
def test_other_data_in_the_same_folder_are_refused(
    changes, model_folder, data_root, train_data, val_data, stopped
):
    with pytest.raises(ValueError, match="holds a training with other settings, data or base"):
        tune(model_folder, other_data(data_root, **changes), val_data, stopped)
    with pytest.raises(ValueError, match="holds a training with other settings, data or base"):
        tune(model_folder, train_data, other_data(data_root, **changes), stopped)


def test_how_many_threads_read_images_changes_no_weight(
    uninterrupted, model_folder, train_data, val_data, tmp_path
):
    adapter, whole = uninterrupted
    tune(model_folder, train_data, val_data, tmp_path, adapter=adapter, workers=2)
    same_tensors(tensors(whole), tensors(tmp_path))


def test_how_many_threads_read_images_may_change(
    uninterrupted, model_folder, train_data, val_data, tmp_path
):
    adapter, whole = uninterrupted
    there = shutil.copytree(whole, tmp_path / "whole")
    tune(model_folder, train_data, val_data, there, adapter=adapter, workers=2, stop_after=1)


def test_a_damaged_state_is_named(model_folder, train_data, val_data, stopped):
    path = stopped / "state.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"state\.safetensors cannot be read.*Delete it"):
        tune(model_folder, train_data, val_data, stopped)


def test_pretraining_goes_on_to_the_same_end(model_folder, train_data, val_data, tmp_path):
    def run(out, stop_after=None):
        def progress(stage, done, total, note=""):
            if stage == "pretraining" and done == stop_after:
                raise Stopped

        pretrain(model_folder, train_data, val_data, out, settings(), progress=progress)

    run(tmp_path / "whole")
    with pytest.raises(Stopped):
        run(tmp_path / "parts", stop_after=2 * STEPS + 2)
    run(tmp_path / "parts")
    same_tensors(tensors(tmp_path / "whole/work"), tensors(tmp_path / "parts/work"))
    assert table(tmp_path / "whole/work") == table(tmp_path / "parts/work")
    whole, parts = (load_model(tmp_path / name) for name in ("whole", "parts"))
    assert whole.base_hash == parts.base_hash


def test_the_image_tower_of_a_pretrained_model_is_what_it_was(
    model_folder, train_data, val_data, tmp_path
):
    pretrain(model_folder, train_data, val_data, tmp_path, settings())
    before = load_file(model_folder / "model.safetensors")
    after = load_file(tmp_path / "model.safetensors")
    changed = {name for name in before if not before[name].equal(after[name])}
    learning = ("clip.text_model", "clip.text_projection", "decoder")
    assert changed == {name for name in before if name.startswith(learning)}
    reached = json.loads((tmp_path / "training.json").read_text())["reached"]
    assert reached["dsc"] == max(float(row["dsc"]) for row in table(tmp_path / "work"))


def test_a_rate_reduced_by_the_validation_is_the_same_after_a_stop(
    model_folder, train_data, val_data, tmp_path
):
    options = {
        "adapter": "dense-v", "schedule": "plateau", "plateau_patience": 0, "warmup_epochs": 0.0,
        "learning_rate": 0.3, "loss": "published", "bce_weight": 0.0,
    }  # fmt: skip
    tune(model_folder, train_data, val_data, tmp_path / "whole", **options)
    rows = table(tmp_path / "whole")
    assert len({row["learning_rate"] for row in rows}) > 1
    assert float(rows[-1]["validation_loss"]) > 0
    for steps in (STEPS + 1, 3 * STEPS + 1):
        with pytest.raises(Stopped):
            tune(
                model_folder, train_data, val_data, tmp_path / "parts", stop_after=steps, **options
            )
    tune(model_folder, train_data, val_data, tmp_path / "parts", **options)
    equal_runs(tmp_path / "parts", tmp_path / "whole")
