"""Archives of torch.export: what is fixed is read from them; code in them is refused."""

import json
import pickle
import zipfile

import pytest
import torch
from torch import nn

from palpate import load_model

from .networks import IMAGES, gradient, luma, net


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A grey network for any size and number of images."""
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    free = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    program = torch.export.export(net(1), (torch.rand(2, 1, 32, 32),), dynamic_shapes=(free,))
    torch.export.save(program, path)
    return path


def test_a_grey_network_for_any_size(archive):
    model = load_model(archive)
    assert model.calling.told == {"channels": 1}
    torch.testing.assert_close(model(IMAGES), net(1)(luma()))
    assert (gradient(model) != 0).any()


def test_a_network_for_one_image_of_one_size_that_is_no_square(tmp_path):
    program = torch.export.export(net(3, 1, nn.Sigmoid()), (torch.rand(1, 3, 32, 40),))
    torch.export.save(program, tmp_path / "net.pt2")
    model = load_model(tmp_path / "net.pt2")
    assert model.calling.batch == 1
    torch.testing.assert_close(model(IMAGES), net()(IMAGES), atol=1e-5, rtol=1e-5)
    assert model(IMAGES[:, :, :20]).shape == (3, 1, 20, 40)


def changed(archive, path, change):
    """A copy of the archive; the function changes the bytes of a member, by its name."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return path


class Harmful:
    def __reduce__(self):
        return eval, ("open('harmed', 'w')",)


def evil_size(name, content):
    if not name.endswith("models/model.json"):
        return content
    text = content.decode()
    start = text.index('"expr_str": "') + len('"expr_str": "')
    return (text[:start] + "__import__('os').getcwd()" + text[text.index('"', start) :]).encode()


def evil_pickle(name, content):
    return pickle.dumps(Harmful()) if "sample_inputs" in name else content


def evil_weights(name, content):
    if not name.endswith("weights_config.json"):
        return content
    values = json.loads(content)
    next(iter(values["config"].values()))["use_pickle"] = True
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (evil_size, "the expression .*__import__.* where a size should be"),
        (evil_pickle, "pickled objects that are no tensors"),
        (evil_weights, "pickled weights"),
    ],
)
def test_code_in_an_archive_is_refused(change, message, archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = changed(archive, tmp_path / "net.pt2", change)
    with pytest.raises(ValueError, match=rf"wants to run code: it has {message}.*--trust-code"):
        load_model(path)
    assert not (tmp_path / "harmed").exists()
