"""A real process, really killed, at moments nobody chose, under every kind of condition."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from palpate.attacks import fgsm, pgd
from palpate.attacks.text import TextAttack, character_noise
from palpate.evaluation import ExampleStore, Joint, Medis, evaluate, read_examples, read_rows

from .blobs import BlobFinder, blobs

HERE = Path(__file__).parent
PROCESS = """
import sys
import torch
from functools import partial
from pathlib import Path
torch.set_num_threads(1)
from palpate.evaluation import RowStore, evaluate as _
from evaluation.test_killed import run
module = sys.modules["palpate.evaluation.evaluate"]
module.RowStore = partial(RowStore, flush_rows=1)
run(Path(sys.argv[1]), progress=lambda stage, done, total, note: print(done, total, flush=True))
"""
TYPOS = TextAttack(partial(character_noise, count=3), "benign")
ATTACKS = {
    "fgsm": fgsm,
    "pgd": partial(pgd, steps=20),
    "typos": TYPOS,
    "joint": Joint(partial(pgd, epsilon=8 / 255, steps=5), TYPOS, 1),
    "medis-tables": Medis(targets=["untargeted", "nearest"], losses=["bce", "dice"], steps=5),
}
ROWS = 12 * (1 + 2 * 2 + 2 + 2 * 2)


def run(folder: Path | None, **settings):
    return evaluate(
        BlobFinder(), blobs(12), ATTACKS, epsilons=[8 / 255, 16 / 255], batch_size=2,
        out=folder and folder / "rows", examples=folder and ExampleStore(folder / "examples", 2),
        **settings,
    )  # fmt: skip


def kill_after(lines: int, folder: Path) -> int:
    """Start the evaluation, kill it after so many lines of progress; how many rows it had told."""
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
@pytest.mark.parametrize("lines", [3, 7, 9, 11, 25])  # among images, texts, joint, MedIS, later
def test_a_killed_evaluation_loses_nothing_and_ends_in_the_same_rows(lines, tmp_path):
    done = kill_after(lines, tmp_path)
    assert done <= len(read_rows(tmp_path / "rows")) < ROWS
    resumed = run(tmp_path)
    assert len(resumed) == ROWS
    assert_frame_equal(resumed.drop(columns="seconds"), run(None).drop(columns="seconds"))
    assert len(read_examples(tmp_path / "examples")) == 2 * 5
