"""Community checkpoints of CRIS: every form they come in, and what is not one."""

import pickle
from collections import Counter

import pytest
import torch
from safetensors.torch import save_file

from palpate.models.cris import read_cris

from . import tiny_cris


@pytest.fixture(scope="module")
def state():
    return tiny_cris.network().state_dict()


def prefixed(state):
    return {f"module.{name}": tensor for name, tensor in state.items()}


def training_file(state):
    """What the published training writes, whose schedule has a Counter in it."""
    return {
        "epoch": 50,
        "best_iou": 0.7,
        "state_dict": prefixed(state),
        "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(2)}}, "param_groups": []},
        "scheduler": {"milestones": Counter({35: 1}), "last_epoch": 50},
    }


FORMS = {
    "training file": training_file,
    "prefixed": prefixed,
    "wrapped": lambda state: {"state_dict": dict(state)},
    "bare": dict,
    "half precision": lambda state: {
        k: v.half() if v.is_floating_point() else v for k, v in state.items()
    },
    "without counters": lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_loads(form, state, tmp_path):
    torch.save(form(state), tmp_path / "cris.pth")
    config, found = read_cris(tmp_path / "cris.pth", **tiny_cris.SIZES)
    assert config == tiny_cris.config()
    assert found.keys() == state.keys()
    assert {v.dtype for v in found.values()} == {torch.float32, torch.int64}
    assert all(torch.allclose(found[k], state[k], atol=1e-2) for k in state)


def test_safetensors_load(state, tmp_path):
    save_file(prefixed(state), tmp_path / "cris.safetensors")
    _, found = read_cris(tmp_path / "cris.safetensors", **tiny_cris.SIZES)
    assert all(torch.equal(found[k], state[k]) for k in state)


def refused(values, tmp_path, message, error=ValueError):
    torch.save(values, tmp_path / "cris.pth")
    with pytest.raises(error, match=message):
        read_cris(tmp_path / "cris.pth", **tiny_cris.SIZES)


def test_missing_and_unexpected_tensors_are_counted_and_the_first_ten_named(state, tmp_path):
    less = {k: v for k, v in state.items() if not k.startswith("decoder.layers.1.")}
    less |= {k: v for k, v in state.items() if k == "decoder.layers.1.norm1.weight"}
    refused(
        less | {"extra.weight": torch.zeros(1)},
        tmp_path,
        r"23 tensors are missing \((decoder\.layers\.1\.[^,]+, ){10}\.\.\.\), "
        r"1 are not expected \(extra\.weight\)",
    )


def test_tensors_of_other_shapes_are_named(state, tmp_path):
    wrong = dict(state) | {"neck.aggr.1.weight": torch.zeros(5)}
    refused(wrong, tmp_path, r"neck.aggr.1.weight: expected \(32,\), got \(5,\)")


def test_a_missing_size_is_named(state, tmp_path):
    less = {k: v for k, v in state.items() if k != "backbone.text_projection"}
    refused(less, tmp_path, "lack 'backbone.text_projection', which a CRIS has")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("backbone.token_embedding.weight", (3,), r"with 2 axes, got shape \(3,\)"),
        ("decoder.layers.0.ffn.0.weight", (), r"with 2 axes, got shape \(\)"),
        ("neck.f2_v_proj.0.weight", (3,), r"with 4 axes, got shape \(3,\)"),
        ("decoder.layers.0.ffn.0.weight", (0, 3), "Expected decoder_hidden to be 1 whole number"),
    ],
)
def test_tensors_that_tell_no_size_are_named(name, shape, message, state, tmp_path, unchecked):
    wrong = dict(state) | {name: torch.zeros(shape)}
    refused(wrong, tmp_path, rf"cris\.pth cannot be loaded: .*{message}")


OTHERS = {
    "OpenAI CLIP": ("visual.conv1.weight", "transformer.resblocks.0.ln_1.weight"),
    "PraNet": ("resnet.conv1.0.weight", "rfb2_1.branch0.0.weight"),
    "CLIPSeg": ("clip.vision_model.post_layernorm.weight", "decoder.film_mul.weight"),
    "BiomedCLIP": ("visual.trunk.cls_token", "text.transformer.embeddings.LayerNorm.weight"),
}


@pytest.mark.parametrize(("family", "names"), OTHERS.items(), ids=OTHERS)
def test_other_families_are_recognised(family, names, tmp_path):
    refused(
        dict.fromkeys(names, torch.zeros(1)),
        tmp_path,
        f"Expected the weights of a CRIS in .*, got those of a {family}",
    )


def test_tensors_nobody_knows_are_named(tmp_path):
    refused({"a.b": torch.zeros(1)}, tmp_path, "got tensors called a.b")


def test_what_is_no_state_dict_is_refused(tmp_path):
    refused([1, 2], tmp_path, "Expected a state dict in .*, got list")
    refused({"epoch": 1}, tmp_path, "got something else for epoch")


class Harmful:
    def __reduce__(self):
        return print, ("run",)


def test_files_that_run_code_are_refused(state, tmp_path, capsys):
    refused(dict(state) | {"x": Harmful()}, tmp_path, "cannot be read as plain tensors")
    assert "run" not in capsys.readouterr().out


def test_a_whole_network_is_refused_without_the_advice_of_pytorch(tmp_path):
    torch.save(torch.nn.Conv2d(3, 1, 1), tmp_path / "cris.pth")
    with pytest.raises(ValueError, match=r"got a whole network.*code to run are refused") as caught:
        read_cris(tmp_path / "cris.pth")
    assert "weights_only" not in str(caught.value)  # PyTorch's advice would run the code


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", pickle.dumps({"a": 1})[:5]], ids=["0", "web", "cut"]
)
def test_damaged_files_are_refused(content, tmp_path):
    (tmp_path / "cris.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"cris.pth cannot be read as plain tensors"):
        read_cris(tmp_path / "cris.pth")


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*cris\.pth"):
        read_cris(tmp_path / "cris.pth")
