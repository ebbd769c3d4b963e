"""Tests of the package installed from a wheel, without access to the source folder."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from palpate.models.files.weights import EMBEDDED

SOURCE = Path(__file__).parents[1]
MEGABYTE = 2**20

_LOAD = """
import palpate, torch
model = palpate.load_model("palpate/tiny", adapter="dense-vl")
data = palpate.load_data("phantom-endoscopy", size=224, limit=2)
with torch.no_grad():
    logits = model(torch.stack([s.image for s in data]), [c.prompt for c in data.cases])
print(palpate.__file__, tuple(logits.shape))
"""


pytestmark = pytest.mark.skipif(
    not (EMBEDDED["palpate/tiny"] / "model.safetensors").is_file(),
    reason="palpate/tiny is not part of this checkout",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    call(
        sys.executable, "-m", "pip", "wheel", SOURCE, "--no-deps", "--no-build-isolation", "-w", out
    )
    return next(out.glob("palpate-*.whl"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An environment with the dependencies of palpate, but without palpate itself."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # A folder named like this brings its packages, but not the path of an editable install.
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with pytest.raises(AssertionError, match="No module named 'palpate'"):
        call(python, "-I", "-c", "import palpate")
    return python


def call(*command, **environment):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False,
        env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_embedded_model_loads_offline_from_the_wheel(wheel, empty, tmp_path):
    call(
        sys.executable,
        "-m",
        "pip",
        "--python",
        empty,
        "install",
        "--no-deps",
        "--no-compile",
        wheel,
    )
    # No network, no hub, no cache to fall back on.
    told = call(empty, "-I", "-c", _LOAD, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    where, shape = told.strip().split(" ", 1)
    assert empty.parents[1] in Path(where).parents
    assert shape == "(2, 1, 224, 224)"


def test_the_wheel_holds_every_file_of_the_package_and_no_more_than_it_must(wheel):
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    sources = SOURCE / "src"
    files = (path for path in (sources / "palpate").rglob("*") if path.is_file())
    files = {str(path.relative_to(sources)) for path in files if "__pycache__" not in path.parts}
    assert {name for name in sizes if name.startswith("palpate/")} == files
    tiny = {name.rpartition("/")[2]: n for name, n in sizes.items() if "models/tiny/" in name}
    assert {"model.safetensors", "config.json", "vocab.json", "merges.txt", "README.md"} <= set(
        tiny
    )
    assert tiny["model.safetensors"] <= 12 * MEGABYTE
    assert wheel.stat().st_size < 16 * MEGABYTE
    assert not [name for name in sizes if name.startswith(("tests/", "docs/"))]
