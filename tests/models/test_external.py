"""Models of the user's own, by the name of a function or file."""

import sys
from pathlib import Path

import pytest
import torch

from palpate.evaluation.results.describe import hash_weights
from palpate.models import load_model, save_checkpoint, wrap
from palpate.models.families import find_family
from palpate.user_code import is_code

SOURCE = """
import torch
from torch import nn
from palpate import wrap

def bare(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1))

def classes():
    return nn.Conv2d(3, 3, 1)

def wrapped(width=4):
    return wrap(bare(width), threshold=0.3)

def nothing():
    return 7

def itself(images):
    return images[:, :1]

ready = nn.Conv2d(3, 1, 1)
number = 7

def shared():
    return ready
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_a_function_of_a_file_makes_the_model(file, pixels):
    model = load_model(f"{file}:bare", options={"width": 6, "threshold": 0.4, "mean": [0.5] * 3})
    assert model.net[0].out_channels == 6
    assert model.threshold == 0.4
    torch.testing.assert_close(model(pixels), model.net(pixels - 0.5))
    assert find_family(f"{file}:bare") == ("external", None)


def test_a_function_of_a_module_in_the_current_folder_makes_the_model(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    before = list(sys.path)
    model = load_model("mine:wrapped", options={"width": 5})
    assert model.threshold == 0.3
    assert model.name == "mine:wrapped"
    assert sys.path == before


def test_classes_are_given_as_options(file, pixels):
    model = load_model(
        f"{file}:classes", options={"out": "classes", "classes": {"polyp": 1, "skin": 2}}
    )
    assert model.text_conditioned
    assert not model(pixels, ["polyp"] * 2).equal(model(pixels, ["skin"] * 2))


@pytest.mark.parametrize("name", ["ready", "shared"])
def test_a_network_that_the_code_keeps_is_copied(name, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    sys.modules.pop("mine", None)
    one, other = (load_model(f"mine:{name}") for _ in range(2))
    with torch.no_grad():
        one.net.weight.zero_()
    assert other.net.weight.all()
    assert load_model(f"mine:{name}").base_hash == other.base_hash


def test_an_option_that_is_a_path_goes_to_the_checkpoint_as_text(file, tmp_path):
    file.write_text(SOURCE + "\ndef from_paths(where, more=()):\n    return bare()\n")
    options = {"where": tmp_path, "more": [Path("no/such"), {"deep": Path("x")}]}
    model = load_model(f"{file}:from_paths", options=options)
    model.learn("all")
    save_checkpoint(model, tmp_path / "out")
    again = load_model(tmp_path / "out", base=f"{file}:from_paths")
    wanted = {"where": str(tmp_path), "more": [str(Path("no/such")), {"deep": "x"}]}
    assert model.options == again.options == wanted


def test_a_seed_means_the_same_weights(file):
    one, same, other = (load_model(f"{file}:bare", seed=seed) for seed in (1, 1, 2))
    assert one.base_hash == same.base_hash != other.base_hash


WRONG = {
    "no function": ("mine.py:bear", {}, r"no function 'bear' in .*Did you mean 'bare'"),
    "no option": ("mine.py:bare", {"wide": 3}, r"does not take the options \{'wide': 3\}"),
    "no model": ("mine.py:nothing", {}, "make a module or another callable, got a int"),
    "wrapped twice": (
        "mine.py:wrapped",
        {"threshold": 0.4},
        "wrapped already; leave out threshold",
    ),
    "itself": ("mine.py:itself", {}, r"wants images.*name a function that .*: return itself"),
    "no factory": ("mine.py:number", {}, "to be a function that makes a model, got a int"),
    "no name": (
        "mine.py:",
        {},
        r"name of a function behind the colon .* has bare, classes, wrapped",
    ),
    "option of a network": ("mine.py:ready", {"width": 2}, "takes no options .*leave out width"),
    "no file": ("yours.py:bare", {}, "There is no file .*yours.py"),
}


@pytest.mark.parametrize(("name", "options", "message"), WRONG.values(), ids=WRONG)
def test_what_makes_no_model_is_an_error(name, options, message, file):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_model(f"{file.parent / name}", options=options)


def test_a_module_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"nowhere_to_be_found cannot be imported"):
        load_model("nowhere_to_be_found:make")


def test_code_that_does_not_compile_is_an_error(tmp_path):
    (tmp_path / "broken.py").write_text("def make(:\n")
    with pytest.raises(ValueError, match=r"broken\.py cannot be imported"):
        load_model(f"{tmp_path / 'broken.py'}:make")


def test_what_the_code_raises_is_said_with_its_line(tmp_path):
    (tmp_path / "mine.py").write_text("def make():\n    return {}['width']\n")
    with pytest.raises(
        ValueError, match=r"mine\.py:make makes no model: KeyError: 'width' \(line 2"
    ):
        load_model(f"{tmp_path / 'mine.py'}:make")
    (tmp_path / "early.py").write_text("\nmake = nn.Identity\n")
    with pytest.raises(ValueError, match=r"early\.py cannot be imported: NameError: .*\(line 2 of"):
        load_model(f"{tmp_path / 'early.py'}:make")


def test_a_checkpoint_runs_no_code_that_the_user_did_not_name(file, pixels, tmp_path):
    model = load_model(f"{file}:bare", options={"width": 3}, seed=4)
    model.learn("all")
    save_checkpoint(model, tmp_path / "checkpoint")
    with pytest.raises(ValueError, match=r"trained on code, .*If you trust that code.*base="):
        load_model(tmp_path / "checkpoint")
    again = load_model(tmp_path / "checkpoint", base=f"{file}:bare")
    assert again(pixels).equal(model(pixels))
    assert again.options == {"width": 3}


@pytest.mark.parametrize("name", ["owner/model", "C:\\models\\mine", "a folder", "monai/unet", ""])
def test_other_names_are_no_code(name):
    assert not is_code(name)


def test_adapters_have_no_place(file):
    with pytest.raises(ValueError, match="no places for adapters"):
        load_model(f"{file}:bare", "dense-v")


def test_a_tokenizer_has_no_use(file, tmp_path):
    with pytest.raises(ValueError, match="reads no text; leave tokenizer out"):
        load_model(f"{file}:bare", tokenizer=tmp_path)


def test_a_network_from_python_tells_where_its_checkpoint_is_from(tmp_path):
    model = wrap(torch.nn.Conv2d(3, 1, 1))
    assert model.name == "torch.nn.modules.conv.Conv2d"


def test_the_weights_of_a_network_do_not_depend_on_the_place_of_its_file(tmp_path):
    source = (
        "from torch import nn\n\nclass Net(nn.Conv2d):\n    pass\n\ndef make():\n"
        "    net = Net(3, 1, 1, bias=False)\n    nn.init.ones_(net.weight)\n    return net\n"
    )
    hashes = set()
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "net.py").write_text(source)
        hashes.add(hash_weights(load_model(f"{tmp_path / place / 'net.py'}:make")))
    assert len(hashes) == 1  # otherwise a run could not be verified from its folder
