"""TorchScript files: what they accept is found out; what they may do is limited."""

import zipfile

import pytest
import torch
from torch import nn

from palpate import load_model
from palpate.models import NoGradientWarning
from palpate.models.families import find_family, is_finished

from .networks import IMAGES, ChannelsLast, Labels, OneImage, OneSize, gradient, luma, net

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")


def traced(module, path, *shape):
    torch.jit.trace(module, torch.rand(shape or (1, 3, 32, 32))).save(path)
    return path


def test_a_traced_network_is_the_network_and_is_attacked_like_it(tmp_path):
    path = traced(net(), tmp_path / "net.ts")
    model = load_model(path)
    torch.testing.assert_close(model(IMAGES), net()(IMAGES))
    torch.testing.assert_close(gradient(model), gradient(net()))
    assert find_family(str(path)) == ("torchscript", path)
    assert is_finished(str(path))
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("module", "shape", "options"),
    [
        (net(1), (1, 1, 32, 32), {"channels": 1}),
        (OneImage(), (), {"batch": 1}),
        (ChannelsLast(), (1, 32, 32, 3), {"layout": "nhwc"}),
    ],
)
def test_the_input_is_found_out(module, shape, options, tmp_path):
    model = load_model(traced(module, tmp_path / "net.pt", *shape))
    assert model.calling.told == options
    assert model(IMAGES).shape == (3, 1, 32, 40)
    if options.get("channels") == 1:
        torch.testing.assert_close(model(IMAGES), net(1)(luma()))


def test_a_fixed_size_is_found_out(tmp_path):
    assert load_model(traced(OneSize(), tmp_path / "net.ts", 1, 3, 64, 64)).preprocessing.size == 64


def test_a_last_sigmoid_says_that_the_output_are_probabilities(tmp_path):
    torch.jit.script(net(3, 1, nn.Sigmoid())).save(tmp_path / "net.ts")
    model = load_model(tmp_path / "net.ts")
    torch.testing.assert_close(model(IMAGES), net()(IMAGES), atol=1e-5, rtol=1e-5)


def test_half_precision_is_computed_in_float32(tmp_path):
    torch.jit.script(net().half()).save(tmp_path / "net.ts")
    torch.testing.assert_close(
        load_model(tmp_path / "net.ts")(IMAGES), net()(IMAGES), atol=5e-3, rtol=0
    )


def test_labels_have_no_gradient_and_it_is_said(tmp_path):
    path = traced(Labels(), tmp_path / "net.ts")
    with pytest.warns(
        NoGradientWarning, match=r"has no gradient: its output is labels.*Only black-box attacks"
    ):
        model = load_model(path)
    assert torch.equal(model(IMAGES)[:, 0] > 0, Labels()(IMAGES).bool())
    assert model.is_differentiable is False
    with pytest.raises(RuntimeError, match=r"labels have no gradient.*\(square, spsa, simba"):
        gradient(model)


class Saving(nn.Module):
    def forward(self, x):
        torch.save(x, "stolen")
        return x[:, :1]


def test_a_file_that_opens_files_is_refused_unless_it_is_trusted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.jit.script(Saving()).save("net.ts")
    with pytest.raises(ValueError, match=r"net.ts calls torch.save, .*add --trust-code"):
        load_model("net.ts")
    assert not (tmp_path / "stolen").exists()
    load_model("net.ts", trust_code=True)


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "net.ts"
    with (
        zipfile.ZipFile(traced(net(), tmp_path / "whole.ts")) as old,
        zipfile.ZipFile(path, "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name, b"junk" if name.endswith("data.pkl") else old.read(name))
    with pytest.raises(ValueError, match=r"cannot be read as TorchScript.*Write it again"):
        load_model(path)


def test_options_override_what_was_found(tmp_path):
    path = traced(net(3, 2), tmp_path / "net.ts")
    options = {"out": "classes", "classes": {"polyp": 1, "tool": 0}, "threshold": 0.4}
    model = load_model(path, options=options)
    assert model.text_conditioned
    assert model.threshold == 0.4
    with pytest.raises(ValueError, match=r"Expected options of .*net.ts among .*'thresh'"):
        load_model(path, options={"thresh": 0.4})
