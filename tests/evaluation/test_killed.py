"""A real process, really killed, at moments nobody chose."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from palpate.attacks import fgsm, pgd
from palpate.evaluation import ExampleStore, evaluate, read_examples, read_rows

from .blobs import BlobFinder, blobs

HERE = Path(__file__).parent
PROCESS = """
import sys
import torch
from functools import partial
from pathlib import Path
torch.set_num_threads(1)
from palpate.evaluation import evaluate as _, store
from evaluation.test_killed import press
module = sys.modules["palpate.evaluation.evaluate"]
module.RowStore = partial(store.RowStore, flush_rows=1)
press(Path(sys.argv[1]), progress=lambda stage, done, total, note: print(done, total, flush=True))
"""


def press(folder: Path | None, **settings):
    attacks = {"fgsm": fgsm, "pgd": partial(pgd, steps=20)}
    return evaluate(
        BlobFinder(), blobs(12), attacks, epsilons=[8 / 255, 16 / 255], batch_size=2,
        out=folder and folder / "rows", examples=folder and ExampleStore(folder / "examples", 2),
        **settings,
    )  # fmt: skip


def kill_after(lines: int, folder: Path) -> int:
    """Start the evaluation, kill it once it has told of ``lines`` batches; how far it was."""
    paths = os.pathsep.join([str(HERE.parent), str(HERE.parents[1] / "src")])
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    with process.stdout as told:
        for _ in range(lines):
            line = told.readline()
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return int(line.split()[0])


@pytest.mark.slow
def test_a_killed_evaluation_loses_nothing_and_ends_in_the_same_rows(tmp_path):
    done = kill_after(9, tmp_path)
    assert done <= len(read_rows(tmp_path / "rows")) < 60
    resumed = press(tmp_path)
    assert_frame_equal(resumed.drop(columns="seconds"), press(None).drop(columns="seconds"))
    assert len(read_examples(tmp_path / "examples")) == 2 * 5
