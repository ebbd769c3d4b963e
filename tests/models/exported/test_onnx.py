"""ONNX files: right answers always, and a gradient where it is the right one."""

import sys

import pytest
import torch
from torch import nn

from palpate import load_model
from palpate.models import NoGradientWarning
from palpate.models.exported import onnx as reading

from .networks import IMAGES, ChannelsLast, Labels, gradient, luma, net

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx2fx")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:Constant folding:UserWarning"),
]


def written(module, path, *shape, free=(0, 2, 3), **more):
    """Export with the exporter that needs no package but onnx."""
    axes = {"x": {axis: f"a{axis}" for axis in free}} if free else None
    images = torch.rand(shape or (1, 3, 32, 32), dtype=next(module.parameters()).dtype)
    torch.onnx.export(
        module, (images,), path, dynamo=False, input_names=["x"], dynamic_axes=axes, **more
    )
    return path


class Block(nn.Module):
    """Strides, edges, transposed convolution, resizing: what segmentation networks do."""

    def __init__(self):
        super().__init__()
        self.down, self.up = net(3, 6), nn.ConvTranspose2d(6, 2, 2, stride=2)
        self.norm, self.last = nn.GroupNorm(1, 2), nn.Conv2d(2, 1, 1)

    def forward(self, x):
        small = nn.functional.avg_pool2d(self.down(x), 2)
        padded = nn.functional.pad(self.up(small), (0, 1, 0, 0), mode="replicate")[..., :-1]
        wide = nn.functional.interpolate(small[:, :2], scale_factor=2.0, mode="bilinear")
        return self.last(torch.nn.functional.gelu(self.norm(padded)) + wide)


def test_a_network_is_itself_and_its_gradient_is_that_of_the_network(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = Block().eval()
    model = load_model(written(block, tmp_path / "net.onnx"))
    torch.testing.assert_close(model(IMAGES), block(IMAGES), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(gradient(model), gradient(block), atol=1e-4, rtol=1e-3)


def test_the_gradient_is_that_of_finite_differences(tmp_path):
    model = load_model(written(net(3, 1, nn.Tanh()), tmp_path / "net.onnx"))
    way = gradient(model) / gradient(model).norm()
    up, down = (model(IMAGES + sign * 0.05 * way).double().sum() for sign in (1, -1))
    slope = gradient(model).double().norm()
    torch.testing.assert_close((up - down) / 0.1, slope, rtol=0.02, atol=0.0)


@pytest.mark.parametrize(
    ("module", "shape", "free", "told"),
    [
        (net(1), (1, 1, 32, 32), (0, 2, 3), {"channels": 1}),
        (ChannelsLast(), (1, 32, 32, 3), (0, 1, 2), {"layout": "nhwc"}),
        (net(), (1, 3, 48, 48), (), {"batch": 1}),
    ],
)
def test_the_file_says_what_it_accepts(module, shape, free, told, tmp_path):
    model = load_model(written(module, tmp_path / "net.onnx", *shape, free=free))
    assert model.calling.told == told
    assert model.preprocessing.size == (None if free else 48)
    assert model(IMAGES).shape == (3, 1, 32, 40)
    if told.get("channels") == 1:
        torch.testing.assert_close(model(IMAGES), net(1)(luma()), atol=1e-5, rtol=1e-5)


def test_half_precision_has_a_gradient(tmp_path):
    model = load_model(written(net().half(), tmp_path / "net.onnx"))
    torch.testing.assert_close(model(IMAGES), net()(IMAGES), atol=5e-3, rtol=0)
    assert (gradient(model) != 0).any()


class Spaced(nn.Module):
    """Reads the spacing of the pixels, and returns two maps."""

    def __init__(self):
        super().__init__()
        self.net = net(3, 2)

    def forward(self, x, spacing):
        scores = self.net(x) * spacing.view(-1, 1, 1, 1)
        return scores[:, :1], scores[:, 1:]


def test_a_second_input_and_a_second_output_go_through_a_function(tmp_path):
    given = (torch.rand(1, 3, 32, 40), torch.ones(1))
    path, names = tmp_path / "net.onnx", ["x", "spacing"]
    axes = {name: {0: "b"} for name in names}
    torch.onnx.export(
        Spaced(), given, path, dynamo=False, input_names=names, output_names=["a", "b"],
        dynamic_axes=axes,
    )  # fmt: skip
    (tmp_path / "net.py").write_text(
        "from torch import full\n"
        "def call(net, images):\n    return net(images, full((len(images),), 2.0))\n"
    )
    options = {"call": f"{tmp_path / 'net.py'}:call", "answer": "b"}
    model = load_model(path, options=options)
    torch.testing.assert_close(model(IMAGES), 2 * net(3, 2)(IMAGES)[:, 1:], atol=1e-5, rtol=1e-5)
    assert (gradient(model) != 0).any()
    with pytest.raises(ValueError, match=r"Required inputs \(spacing\)|second_input"):
        load_model(path)(IMAGES)


def test_a_last_softmax_says_that_the_output_are_probabilities(tmp_path):
    model = load_model(written(net(3, 2, nn.Softmax(1)), tmp_path / "net.onnx"))
    scores = net(3, 2)(IMAGES)
    torch.testing.assert_close(model(IMAGES), scores[:, 1:] - scores[:, :1], atol=1e-4, rtol=1e-4)


def test_labels_are_right_and_have_no_gradient(tmp_path):
    path = written(Labels(), tmp_path / "net.onnx")
    with pytest.warns(NoGradientWarning, match=r"its output is labels .*Only black-box attacks"):
        model = load_model(path)
    assert torch.equal(model(IMAGES)[:, 0] > 0, Labels()(IMAGES).bool())


def test_operators_without_counterpart_are_listed_and_black_box_attacks_are_left(
    tmp_path, monkeypatch
):
    import onnx2fx
    from onnx2fx.utils.analyze import AnalysisResult

    found = AnalysisResult(unsupported_ops=[("HardMax", "", 20), ("Det", "", 20)])
    monkeypatch.setattr(onnx2fx, "analyze_model", lambda _: found)
    path = written(net(), tmp_path / "net.onnx")
    with pytest.warns(NoGradientWarning, match="no counterpart of its operators Det, HardMax"):
        model = load_model(path)
    torch.testing.assert_close(model(IMAGES), net()(IMAGES), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda x: net()(x) * 1.1, "its answers differ by .* from those of ONNX Runtime"),
        (lambda x: net()(x).detach() + 0 * x[:, :1], "its gradient is 0 along a line where finite"),
        (lambda x: net()(x).detach(), "autograd cannot trace"),
    ],
)
def test_a_wrong_conversion_is_noticed(wrong, reason, tmp_path, monkeypatch):
    import onnx2fx

    class Wrong(nn.Module):
        def forward(self, x):
            return wrong(x)

    monkeypatch.setattr(onnx2fx, "convert", lambda _: Wrong())
    with pytest.warns(NoGradientWarning, match=reason):
        model = load_model(written(net(), tmp_path / "net.onnx"))
    torch.testing.assert_close(model(IMAGES), net()(IMAGES), atol=1e-5, rtol=1e-5)


def test_operators_that_are_not_onnx_are_listed(tmp_path):
    path = written(net(), tmp_path / "net.onnx")
    graph = onnx.load(str(path))
    graph.graph.node[1].op_type, graph.graph.node[1].domain = "Magic", "my.lab"
    graph.opset_import.append(onnx.helper.make_opsetid("my.lab", 1))
    onnx.save(graph, str(path))
    with pytest.raises(ValueError, match=r"Its operators my\.lab\.Magic are not ONNX's own"):
        load_model(path)


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    path = written(net(), tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnx2fx", None)
    with pytest.raises(ValueError, match=r"need the package onnx2fx: .*pip install onnx onnxrun"):
        load_model(path)


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (nn.Conv3d(1, 1, 1), (1, 1, 8, 8, 8), "a network for 2-D images, got one with an input"),
        (
            nn.Conv2d(4, 1, 1),
            (1, 4, 8, 8),
            "a network that reads images of 1 or 3 channels, got one with an input",
        ),
    ],
)
def test_networks_for_other_images_are_refused(module, shape, message, tmp_path):
    path = written(module.eval(), tmp_path / "net.onnx", *shape, free=())
    with pytest.raises(ValueError, match=rf"Expected {message}.*of shape \(1, "):
        load_model(path)


def test_a_damaged_file_is_one_sentence(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07not a graph")
    with pytest.raises(ValueError, match=r"net.onnx cannot be read as ONNX"):
        load_model(tmp_path / "net.onnx")


@pytest.mark.parametrize("axes", [None, torch.tensor([3])])
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_padding_is_that_of_onnx(mode, axes):
    from onnx.reference.ops.op_pad import _pad_impl

    pads = torch.tensor([0, 0, 0, 1, 0, 0, 1, 2]) if axes is None else torch.tensor([1, 2])
    given = {} if axes is None else {"axes": axes.numpy()}
    x = IMAGES[:, :, :6, :7]
    wanted = _pad_impl(x.numpy(), pads.numpy(), mode=mode, constant_values=0.0, **given)
    torch.testing.assert_close(reading._padded(mode, x, pads, None, axes), torch.tensor(wanted))
