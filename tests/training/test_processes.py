"""Training in two processes that share the work, told of each other as torchrun does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from .runs import tensors

SCRIPT = """
import gc, os, sys, time
from pathlib import Path
import accelerate, torch._dynamo  # else either process imports them
from palpate.data import load_data
from palpate.models import load_model
from palpate.training import TrainingSettings, train
import palpate.training.train

model_folder, data_root, out = map(Path, sys.argv[1:])
module = sys.modules["palpate.training.train"]
save = module.save_checkpoint

def slowly(*arguments):
    time.sleep(0.5)  # as a large one on a slow disk
    save(*arguments)

module.save_checkpoint = slowly
gc.freeze()
second = os.fork()  # imports take longer than all the rest, so they are done once
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if second else "1"
data, val = (load_data("folder", data_root, split=s, size=32) for s in ("train", "val"))
settings = TrainingSettings(epochs=1, batch_size=2, learning_rate=1e-2, warmup_epochs=0, seed=1)
for name, adapter, learns in (("one", None, "all"), ("two", "dense-v", "adapters")):
    model = load_model(model_folder, adapter)
    model.learn(learns)
    train(model, data, val, out / name, settings)
    load_model(out / name)
if second:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]))
"""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def test_two_processes_train_one_model_and_then_another(model_folder, data_root, tmp_path):
    told = {
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
    }  # fmt: skip
    arguments = map(str, (model_folder, data_root, tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], env=os.environ | told, stderr=subprocess.PIPE,
        text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    base = load_file(model_folder / "model.safetensors")
    for name in ("one", "two"):
        assert all(bool(value.isfinite().all()) for value in tensors(tmp_path / name).values())
    trained = load_file(tmp_path / "one" / "weights.safetensors")
    moved = [name for name, value in base.items() if not torch.equal(trained[name], value)]
    assert any("vision_model" in name for name in moved)
    assert any("decoder" in name for name in moved)
