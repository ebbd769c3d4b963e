"""Packages that add to palpate by entry points of the group ``palpate.plugins``."""

import os
import subprocess
import sys
from pathlib import Path

SOURCES = str(Path(__file__).parents[1] / "src")

PLUGIN = """
import torch

from palpate.attacks import ATTACKS, pgd
from palpate.data import DatasetSpec
from palpate.evaluation.metrics import Metric
from palpate.models import FAMILIES, Family

def brighten(model, images, masks, *, epsilon):
    return (images + epsilon).clamp(0, 1)

def logit_sum(logits, masks):
    return (logits * (1 - 2.0 * masks)).mean((1, 2, 3))

def area_error(predictions, masks):
    return (predictions ^ masks).flatten(1).sum(1)

def make():
    return torch.nn.Conv2d(3, 1, 1)  # monai's networks take seconds to import

ATTACKS = {"brighten": brighten}
LOSSES = {"logit_sum": logit_sum}
METRICS = {
    "area_error": Metric(area_error, "area_error", "lower", "Wrong area", "px", default=True),
    "bare": area_error,
}
FAMILIES = {"lab": Family(FAMILIES["monai"].load, "Networks of a lab", names=("lab/net",))}
DATASETS = {"lab-set": DatasetSpec("lab-set", "lab", lambda name: "polyp", lambda name: name)}
"""
BROKEN = "import a_package_that_is_not_there\n"
TAKEN = "ATTACKS = {'pgd': print}\nLOSSES = []\n"

RUN = """
import sys
import palpate.cli
from palpate.attacks import ATTACKS
from palpate.data import DATASETS
from palpate.evaluation import read_rows
from palpate.evaluation.metrics import METRICS, find_metrics
from palpate.models import FAMILIES
from palpate.models.families import known_names
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import run
from palpate.reporting.figures import drawing

# Figures are not looked at here, and take longer than the rest.
drawing.save, drawing.inline_svg = lambda *_, **__: [], lambda *_: ""

ATTACKS["pgd"]
print("asked for plugins", file=sys.stderr)
assert "brighten" in ATTACKS
assert [metric.name for metric in find_metrics()] == ["dsc", "iou", "miou", "hd95", "nsd"]
assert "lab/net" in known_names() and "lab" in FAMILIES
assert DATASETS["lab-set"].name == "lab-set"
assert METRICS["bare"].label == "bare"
out = sys.argv[1]
run(config_from({
    "out": out,
    "data": {"name": "phantom-endoscopy", "size": 32, "test_limit": 1},
    "model": {"name": "lab_plugin:make", "adapter": None, "learns": "nothing"},
    "evaluate": {
        "attacks": {"brighten": {}, "pgd": {"steps": 1, "loss": "logit_sum"}},
        "epsilon_255": [8], "sanity_samples": 0, "examples": 0, "metrics": ["dsc", "area_error"],
    },
}))
rows = read_rows(out + "/rows")
assert set(rows["attack"]) == {"clean", "brighten", "pgd"}, rows
assert rows["area_error"].notna().all()
assert "Wrong area (px)" in open(out + "/report/index.html").read()
print("done")
"""

REFUSED = """
from palpate.attacks import ATTACKS, LOSSES
for registry in (ATTACKS, LOSSES):
    try:
        list(registry)
    except Exception as error:
        print(str(error).replace("\\n", " "))
"""


def install(folder, package, source):
    """Leave a package as pip would: its module, and a dist-info folder with the entry point."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    told = folder / f"{module}-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(f"[palpate.plugins]\n{package}-point = {module}\n")
    return folder


def python(code, folder, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": f"{SOURCES}{os.pathsep}{folder}"},
    )


def test_what_a_package_registers_is_used_in_a_run_and_a_broken_one_left_out(tmp_path):
    """Neither is imported for palpate's own names."""
    install(tmp_path, "broken-plugin", BROKEN)
    install(tmp_path, "lab-plugin", PLUGIN)
    found = python(RUN, tmp_path, str(tmp_path / "run"))
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip().endswith("done")
    own, asked, plugins = found.stderr.partition("asked for plugins")
    assert (own, asked) == ("", "asked for plugins")
    assert "'broken-plugin-point' of package broken-plugin is left out" in plugins
    assert "No module named 'a_package_that_is_not_there'" in plugins


def test_a_name_that_is_taken_and_no_dictionary_are_refused(tmp_path):
    found = python(REFUSED, install(tmp_path, "taken-plugin", TAKEN))
    attacks, losses = found.stdout.splitlines()
    assert "registers 'pgd' in ATTACKS, but that name is taken by palpate" in attacks
    assert "Expected LOSSES of the plugin package taken-plugin to be a dictionary" in losses
