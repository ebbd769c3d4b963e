"""Weights out of training files: what is beside them is neither needed nor run."""

import functools
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from palpate.models.files import safe_pickle
from palpate.models.files.safe_pickle import Inert, holds, read_inert, read_pickled


def weights():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    shared = torch.arange(6.0)
    extra = {"half": shared.half(), "row": shared.view(2, 3).T, "part": shared[2:4]}
    return net.state_dict() | extra | {"none": torch.zeros(0), "true": torch.tensor([True])}


class Touching:
    """Makes a file when it is unpickled as its own code asks."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def lightning(state, harm=None):
    """What Lightning writes: settings and optimisers are code to be run."""
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": {f"net.{name}": value for name, value in state.items()},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []}],
        "hyper_parameters": {
            "optimizer": functools.partial(torch.optim.AdamW, lr=1e-3),
            "loss_fn": nn.BCEWithLogitsLoss(),
            "where": Path("runs"),
            "harm": harm,
        },
    }


def test_a_lightning_checkpoint_gives_its_weights_without_their_prefix(tmp_path):
    state, path = weights(), tmp_path / "best.ckpt"
    torch.save(lightning(state), path)
    found = read_pickled(path, family="net", marks=("0.weight",))
    assert found.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(
            found[name], value.float() if value.is_floating_point() else value
        )
    assert holds(path, ("0.weight", "1.running_mean"))
    assert not holds(path, ("0.weight", "2."))


def test_nothing_in_a_file_is_run(tmp_path):
    torch.save(lightning(weights(), Touching(tmp_path / "harmed")), tmp_path / "best.ckpt")
    read_pickled(tmp_path / "best.ckpt", family="net", marks=("0.",))
    assert not (tmp_path / "harmed").exists()
    found = read_inert(tmp_path / "best.ckpt")["hyper_parameters"]
    assert all(isinstance(found[name], Inert) for name in ("harm", "optimizer", "loss_fn"))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_any_pickle_protocol_is_read(protocol, tmp_path):
    state = weights()
    torch.save(state, tmp_path / "w.pth", pickle_protocol=protocol)
    found = read_pickled(tmp_path / "w.pth", family="net", marks=("0.",))
    assert all(found[k].equal(v.to(found[k].dtype)) for k, v in state.items())


def test_shapes_are_read_without_contents(tmp_path):
    torch.save(weights(), tmp_path / "w.pth")
    found = read_inert(tmp_path / "w.pth", shapes=True)
    assert {value.device.type for value in found.values()} == {"meta"}
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in weights().items()}


def test_a_prefix_that_only_some_names_have_is_part_of_them(tmp_path):
    torch.save({"net.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pth")
    assert set(read_pickled(tmp_path / "w.pth", family="net", marks=("b",))) == {"net.a", "b"}


def test_a_compiled_network_is_the_network(tmp_path):
    for name in ("_orig_mod.a.w", "module._orig_mod.a.w", "_orig_mod.module.a.w", "a._orig_mod.w"):
        torch.save({name: torch.ones(1)}, tmp_path / "w.pth")
        assert holds(tmp_path / "w.pth", ("a.w",))
        assert set(read_pickled(tmp_path / "w.pth", family="net", marks=("a",))) == {"a.w"}


@pytest.mark.parametrize("name", [b"_rebuild_tensor_v2", b"_rebuild_parameter"])
def test_a_file_cannot_change_what_reads_it(name, tmp_path):
    state = b"(N}X\x0c\x00\x00\x00__defaults__(K\x01tst"  # None, and an attribute to set
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02ctorch._utils\n" + name + b"\n" + state + b"b.")
    read_inert(tmp_path / "w.pth")
    assert safe_pickle._tensor.__defaults__ is None
    assert safe_pickle._parameter.__defaults__ is None


def test_a_file_without_one_index_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme", "none")
    with pytest.raises(ValueError, match=r"Expected one data.pkl in .*w.pth, got 0"):
        read_inert(tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"as plain tensors \(Expected one data.pkl in .*got 0\)"):
        read_pickled(tmp_path / "w.pth", family="net", marks=("a",))


def test_another_byte_order_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("w/data.pkl", b"")
        archive.writestr("w/byteorder", "middle")
    for read in (read_inert, safe_pickle.read_state):
        with pytest.raises(ValueError, match="Expected the byte order of this machine"):
            read(tmp_path / "w.pth")
