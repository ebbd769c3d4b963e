"""What counts as code of the user, and what as a package that its version identifies."""

import importlib.util
import os
import sys

import pytest
import torch

from palpate import user_code
from palpate.user_code import is_installed, source_of

CODE = "class Net:\n    size = 1\n"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Import a module from a folder below ``tmp_path`` and return its class."""

    def load(place, name):
        folder = tmp_path / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(CODE)
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module.Net

    return load


@pytest.mark.parametrize(
    ("place", "installed"),
    [
        ("home/.local/lib/python3.11/site-packages", True),  # pip install --user
        ("usr/lib/python3/dist-packages", True),  # Debian
        ("opt/conda/lib/python3.11/site-packages", True),
        ("project/src", False),
    ],
)
def test_packages_are_installed_wherever_they_are(place, installed, made):
    assert is_installed(made(place, "net_of_a_package")) is installed


def test_packages_of_a_folder_on_the_path_are_in_its_list_of_files(made, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "target")
    listed, mine = made("target", "net_listed"), made("target", "net_of_mine")
    (tmp_path / "target" / "a-1.dist-info").mkdir()
    (tmp_path / "target" / "a-1.dist-info" / "RECORD").write_text("net_listed.py,sha256=x,10\n")
    assert is_installed(listed)
    assert not is_installed(mine)


def test_python_and_torch_are_installed():
    assert is_installed(torch.nn.Conv2d)
    assert is_installed(importlib.util.find_spec("json").__class__)
    assert is_installed(int)


def test_a_source_is_read_again_only_if_its_file_changes(made, tmp_path, monkeypatch):
    net, calls = made("mine", "net_to_change"), []
    read = user_code.inspect.getsource
    monkeypatch.setattr(
        user_code.inspect, "getsource", lambda thing: calls.append(thing) or read(thing)
    )
    first = source_of(net)
    assert source_of(net) == first
    assert len(calls) == 1
    file = tmp_path / "mine" / "net_to_change.py"
    file.write_text(CODE.replace("1", "2"))
    os.utime(file, (1, 1))
    assert source_of(net) != first
