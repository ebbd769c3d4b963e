"""Any network in pixel space, and everything that such a network can do wrong."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from palpate import wrap
from palpate.models import PixelModel, SaturationWarning, load_model
from palpate.models.checkpoints import load_checkpoint, save_checkpoint
from palpate.randomness import seeded

CLASSES = {"polyp": 1, "instrument": 2, "large polyp": 3}


@pytest.fixture
def net():
    with seeded(0):
        return nn.Conv2d(3, 1, 3, padding=1).eval()


def scores(channels):
    """A network of so many channels, the size of its input."""
    with seeded(1):
        return nn.Conv2d(3, channels, 1).eval()


class Made(nn.Module):
    """Returns whatever a function makes of the pixels."""

    def __init__(self, function):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.function = function

    def forward(self, pixels):
        return self.function(self.weight * pixels)


def grey(pixels):
    return pixels.mean(1, keepdim=True) - 0.4


def test_is_the_network_on_normalised_pixels(net, pixels):
    model = wrap(net, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    normalised = (pixels - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) / torch.tensor(
        [0.5, 0.6, 0.7]
    ).view(1, 3, 1, 1)
    torch.testing.assert_close(model(pixels), net(normalised))
    assert isinstance(model, PixelModel)
    assert not model.text_conditioned


def test_resizes_to_the_input_size_and_back(net, pixels):
    model = wrap(net, input_size=16)
    small = F.interpolate(pixels, (16, 16), mode="bilinear", antialias=True)
    wanted = F.interpolate(net(small), (32, 32), mode="bilinear")
    torch.testing.assert_close(model(pixels), wanted)


@pytest.mark.parametrize(("size", "seen"), [((32, 32), (32, 32)), ((33, 20), (40, 24))])
def test_other_images_go_in_at_the_next_multiple(size, seen):
    sizes = []

    def note(pixels):
        sizes.append(tuple(pixels.shape[2:]))
        return grey(pixels)

    model = wrap(Made(note), multiple=8)
    assert model(torch.rand(1, 3, *size)).shape == (1, 1, *size)
    assert sizes == [seen]


def test_other_scales_are_those_that_pranets_authors_train_at(net):
    model = wrap(net, input_size=352, multiple=32)
    for scale in (0.1, 0.5, 0.75, 1.0, 1.25, 1.5):
        side = max(32, int(round(352 * scale / 32) * 32))  # their own formula, but for the least
        assert model.input_size(500, 600, scale) == (side, side)
    assert model.input_size(1, 1, 0.75) == (256, 256)
    free = wrap(net, multiple=32)
    assert free.input_size(100, 300) == (128, 320)
    assert free.input_size(100, 300, 0.75) == (64, 224)


def test_an_answer_coarser_than_its_input_is_brought_to_its_size(pixels):
    def coarse(pixels):
        return F.avg_pool2d(grey(pixels), 4)

    wanted = F.interpolate(coarse(pixels), (32, 32), mode="bilinear")
    torch.testing.assert_close(wrap(Made(coarse), stride=4)(pixels), wanted)
    with pytest.raises(ValueError, match=r"\(2, channels, 32, 32\).*got \(2, 1, 8, 8\).*stride"):
        wrap(Made(coarse))(pixels)


def test_an_answer_for_another_number_of_images_is_called_that(pixels):
    with pytest.raises(ValueError, match=r"each of the 2 images of the batch, got 1 .*batch\.$"):
        wrap(Made(lambda pixels: grey(pixels)[:1]))(pixels)


def test_probabilities_become_the_logits_they_came_from(net, pixels):
    bare = wrap(net)
    sure = wrap(nn.Sequential(net, nn.Sigmoid()), out="probabilities")
    torch.testing.assert_close(sure(pixels), bare(pixels), atol=1e-5, rtol=1e-5)
    point, other = pixels.clone().requires_grad_(), pixels.clone().requires_grad_()
    (ours,) = torch.autograd.grad(sure(point).sum(), point)
    (theirs,) = torch.autograd.grad(bare(other).sum(), other)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_saturated_probabilities_say_so_and_stay_finite_with_a_gradient(pixels):
    def clamped(pixels):
        return (100 * grey(pixels)).clamp(0, 1)

    point = pixels.clone().requires_grad_()
    with pytest.warns(SaturationWarning, match=r"exactly 0 or 1.*looks like robustness"):
        logits = wrap(Made(clamped), out="probabilities")(point)
    assert logits.isfinite().all()
    assert logits.max() > 15
    values = torch.tensor([[[[0.0, 1.0, 0.25]]]], requires_grad=True)
    with pytest.warns(SaturationWarning):
        made = wrap(lambda _: values, out="probabilities")(torch.rand(1, 3, 1, 3))
    (gradient,) = torch.autograd.grad(made.sum(), values)
    assert (gradient > 0).all()
    assert gradient[0, 0, 0, 2] == pytest.approx(1 / (0.25 * 0.75))


def test_an_underflowing_sigmoid_keeps_the_gradient_of_squared_logits_finite():
    values = torch.tensor([[[[-120.0, -103, -95, -88, -80, -60, 0, 10, 20]]]], requires_grad=True)
    model = wrap(lambda _: values.sigmoid(), out="probabilities")
    with pytest.warns(SaturationWarning):
        logits = model(torch.rand(1, 3, 1, 9))
    (gradient,) = torch.autograd.grad(logits.square().sum(), values)
    assert gradient.isfinite().all()
    within = slice(5, 8)  # there it is exact
    torch.testing.assert_close(logits[..., within], values[..., within], rtol=1e-2, atol=1e-5)
    torch.testing.assert_close(gradient[..., within], 2 * values[..., within], rtol=2e-2, atol=0)


def test_a_class_may_end_in_a_sign(pixels):
    net = scores(3)
    model = wrap(net, classes={"HER2+": 1, "HER2": 2, "(dark) skin": 0})
    found = model(torch.cat([pixels, pixels[:1]]), ["a HER2+ cell", "HER2", "some (dark) skin."])
    whole = net(pixels)
    assert found.equal(torch.stack([whole[0, 1:2], whole[1, 2:3], whole[0, 0:1]]))
    with pytest.raises(ValueError, match="got none"):
        model(pixels, ["aHER2+", "HER2"])


def test_the_prompt_names_the_class(pixels):
    net = scores(4)
    model = wrap(net, out="classes", classes=CLASSES)
    assert model.text_conditioned
    found = model(pixels, ["a polyp", "Large polyp, seen from above"])
    probabilities = net(pixels).softmax(1)
    wanted = torch.stack([probabilities[0, 1:2], probabilities[1, 3:4]])
    torch.testing.assert_close(found.sigmoid(), wanted)


def test_of_two_exclusive_classes_the_second_is_foreground(pixels):
    net = scores(2)
    wanted = net(pixels).softmax(1)[:, 1:]
    torch.testing.assert_close(wrap(net, out="classes")(pixels).sigmoid(), wanted)


def test_of_two_probabilities_that_exclude_each_other_the_second_is_foreground(pixels):
    net = nn.Sequential(scores(2), nn.Softmax(1))
    logits = wrap(net[0], out="classes")(pixels)
    torch.testing.assert_close(wrap(net, out="probabilities")(pixels), logits)
    apart = nn.Sequential(scores(2), nn.Sigmoid())  # a pixel may be both
    with pytest.raises(ValueError, match=r"one channel, or classes=.*got 2 channels"):
        wrap(apart, out="probabilities")(pixels)


def test_probabilities_taken_for_scores_are_suspected(pixels):
    net = nn.Sequential(scores(3), nn.Softmax(1))
    with pytest.warns(RuntimeWarning, match=r"softmax once more.*say out='probabilities'"):
        wrap(net, out="classes", classes={"polyp": 1})(pixels, ["polyp"] * 2)


def test_one_map_per_image_needs_no_channel(pixels):
    flat = wrap(Made(lambda x: grey(x)[:, 0]))
    assert flat(pixels).equal(wrap(Made(grey))(pixels))


def test_a_network_that_reads_gets_the_texts(pixels):
    def answer(pixels, prompts):
        return grey(pixels) + torch.tensor([len(text) for text in prompts]).view(-1, 1, 1, 1)

    model = wrap(answer, prompted=True)
    assert model.text_conditioned
    assert model.side_maps(pixels, ["a", "ab"]).equal(model(pixels, ["a", "ab"]))
    assert model(pixels, ["a", "ab"])[1].equal(grey(pixels)[1] + 2)
    assert model.base_hash != wrap(answer).base_hash
    for given in (None, "a", ["a"]):
        with pytest.raises(ValueError, match="a list of 2 prompts, one per image"):
            model(pixels, given)


def test_independent_logits_are_chosen_from(pixels):
    net = scores(4)
    found = wrap(net, classes=CLASSES)(pixels, ["instrument", "polyp"])
    assert found.equal(torch.stack([net(pixels)[0, 2:3], net(pixels)[1, 1:2]]))


@pytest.mark.parametrize(
    ("prompt", "got"),
    [
        ("skin", "got none"),
        ("polyps", "got none"),
        ("polyp, instrument", "'instrument' and 'polyp'"),
    ],
)
def test_a_prompt_that_names_no_class_or_several_is_refused(prompt, got, pixels):
    model = wrap(scores(4), out="classes", classes=CLASSES)
    with pytest.raises(ValueError, match=rf"names one of the classes polyp, .*{got}"):
        model(pixels, [prompt, "polyp"])


def test_classes_need_prompts(pixels):
    with pytest.raises(ValueError, match="list of 2 prompts, one per image, got none"):
        wrap(scores(4), out="classes", classes=CLASSES)(pixels)


def test_labels_can_be_scored_but_not_climbed(pixels):
    def labels(pixels):
        return (grey(pixels) > 0).long()

    model = wrap(Made(labels), out="classes")
    with torch.no_grad():
        assert ((model(pixels) > 0) == (grey(pixels) > 0)).all()
    with pytest.raises(RuntimeError, match=r"trace back to the pixels.*labels have no gradient"):
        model(pixels.clone().requires_grad_())


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (lambda x: 255 * (x[:, 0] > 0.5), None, r"labels 0 and 1, or classes=.*got 0, 255\."),
        (lambda x: x.argmax(1), None, r"labels 0 and 1, or classes=.*got 0, 1, 2\."),
        (
            lambda x: (x > 0.5).long(),
            {"polyp": 1},
            r"in one channel.*got 3 channels of torch.int64",
        ),
    ],
)
def test_labels_that_would_be_misread_are_refused(labels, classes, message, pixels):
    with torch.no_grad(), pytest.raises(ValueError, match=message):
        wrap(labels, out="classes", classes=classes)(pixels, ["polyp", "polyp"])


def detached(pixels):
    return grey(pixels).detach()


def with_nan(pixels):
    return torch.cat([grey(pixels)[:1], grey(pixels)[1:] / 0 * 0])


WRONG = {
    "nan": (with_nan, {}, FloatingPointError, r"NaN or infinity for images \[1\]"),
    "list": (lambda x: [grey(x)], {}, ValueError, r"returns a tensor, got a list of 1.*answer="),
    "dictionary": (lambda x: {"out": grey(x)}, {}, ValueError, r"dict with 'out'"),
    "no such key": (lambda x: {"a": grey(x)}, {"answer": "b"}, ValueError, r"'b', got \['a'\]"),
    "no such place": (lambda x: (grey(x),), {"answer": 2}, ValueError, r"element 2.*tuple of 1"),
    "not a tensor": (lambda x: x.detach().numpy(), {}, ValueError, r"got a numpy.ndarray"),
    "another size": (lambda x: grey(x)[..., 1:], {}, ValueError, r"got \(2, 1, 32, 31\)"),
    "a batch less": (lambda x: grey(x)[:1], {}, ValueError, r"2 images of the batch, got 1"),
    "no channel, another size": (
        lambda x: grey(x)[:, 0, 1:], {}, ValueError, r"got \(2, 31, 32\)",
    ),
    "many channels": (lambda x: 2 * x - 1, {}, ValueError, r"got 3 channels; .*'classes'"),
    "classes beyond": (
        lambda x: 2 * x - 1, {"classes": {"polyp": 3}}, ValueError, r"among the 3.*got \[3\]",
    ),
    "deep supervision": (
        lambda x: torch.stack([grey(x)] * 2, 1), {}, ValueError, r"got \(2, 2, 1, 32, 32\)\.$",
    ),
    "integers": (lambda x: grey(x).long(), {}, ValueError, r"floating-point.*int64.*classes"),
    "no probabilities": (
        lambda x: 9 * grey(x), {"out": "probabilities"}, ValueError, r"in \[0, 1\], got values",
    ),
    "one exclusive class": (grey, {"out": "classes"}, ValueError, "two classes or more"),
    "detached": (detached, {}, RuntimeError, "trace back to the pixels.*no_grad"),
}  # fmt: skip


@pytest.mark.parametrize(("function", "options", "kind", "message"), WRONG.values(), ids=WRONG)
def test_what_fails_quietly_elsewhere_is_an_error(function, options, kind, message, pixels):
    model = wrap(Made(function), **options)
    with pytest.raises(kind, match=message):
        model(pixels.clone().requires_grad_(), ["polyp", "polyp"])


@pytest.mark.parametrize(
    ("error", "kind"),
    [(KeyError, ValueError), (AssertionError, ValueError), (RuntimeError, RuntimeError)],
)
def test_whatever_a_network_raises_is_said_with_its_line(error, kind, pixels):
    def stumble(_):
        raise error("a key")

    with pytest.raises(
        kind, match=rf"fails on an input of 32 x 32.*{error.__name__}: .*line \d+ of .*test_wrapped"
    ):
        wrap(Made(stumble))(pixels)


def test_too_little_memory_and_broken_numbers_stay_what_they_are(pixels):
    for error in (torch.cuda.OutOfMemoryError, FloatingPointError):

        def stumble(_, error=error):
            raise error("too much")

        with pytest.raises(error, match=r"^too much$"):
            wrap(Made(stumble))(pixels)


def test_weights_of_another_precision_are_named(net, pixels):
    with pytest.raises(RuntimeError, match=r"weights are torch\.float16 .*call \.float\(\)"):
        wrap(net.half())(pixels)


def test_probabilities_taken_for_logits_are_suspected(pixels):
    with pytest.warns(RuntimeWarning, match=r"All logits lie in \[0, 1\].*out='probabilities'"):
        wrap(Made(lambda x: x[:, :1]))(pixels)


class Wakes(nn.Module):
    """Goes into training mode while it is asked."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, pixels):
        self.norm.train()
        return self.norm(grey(pixels))


def test_a_network_that_changes_its_mode_is_named(pixels):
    model = wrap(Wakes()).eval()
    with pytest.raises(RuntimeError, match=r"stay in its mode.*net\.norm|stay in its mode.*norm"):
        model(pixels)


def test_it_is_named_whenever_it_is_asked(pixels):
    model = wrap(Wakes()).eval()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="stay in its mode"):
            model(pixels)
        assert not model.net.norm.training


class Builds(nn.Module):
    """Makes its layers when it is asked first, or at every call."""

    def __init__(self, layer, again=False):
        super().__init__()
        with seeded(2):
            self.first, self.again = nn.Conv2d(3, 1, 1), again
        self.layer = layer

    def forward(self, pixels):
        if self.again or not hasattr(self, "made"):
            self.made = self.layer()
        return self.made(self.first(pixels))


@pytest.mark.parametrize("again", [False, True])
def test_a_network_that_makes_layers_while_it_is_asked_is_named(again, pixels):
    model = wrap(Builds(lambda: nn.Conv2d(1, 1, 1), again)).eval()
    for _ in range(2):
        with pytest.raises(
            RuntimeError, match=r"all its layers before the first call, got .*: made\."
        ):
            model(pixels)
    assert [name for name, _ in model.net.named_children()] == ["first"]


def test_a_network_that_was_called_before_has_its_layers(pixels):
    net = Builds(lambda: nn.Conv2d(1, 1, 1))
    net(pixels)
    assert wrap(net)(pixels).equal(net(pixels))
    net.again = True
    with pytest.raises(RuntimeError, match="all its layers"):
        wrap(net)(pixels)
    assert wrap(Builds(nn.Identity))(pixels).shape == (2, 1, 32, 32)  # nothing is lost with it


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.0}, "threshold between 0 and 1, got 1.0"),
        ({"out": "scores"}, "out to be one of logits, probabilities, classes, got 'scores'"),
        ({"input_size": 30, "multiple": 16}, "multiple of 16, got 30"),
        ({"multiple": 0}, "whole multiple >= 1, got 0"),
        ({"multiple": "a"}, "whole multiple >= 1, got 'a'"),
        ({"stride": 0}, "whole stride >= 1, got 0"),
        ({"stride": 2.5}, r"whole stride >= 1, got 2\.5"),
        ({"mean": 0.5}, r"mean and std as a list, one number per channel, got 0\.5"),
        ({"std": (1.0, 0.0, 1.0)}, "positive std per channel"),
        ({"classes": {}}, "Expected classes"),
        (
            {"classes": {"polyp:1": None}},
            r"channel of each.*space behind the colon.*got {'polyp:1'",
        ),
        ({"classes": {"polyp": "1"}}, "channel of each, 0 the first.*got {'polyp': '1'}"),
        ({"classes": {"polyp": -1}}, "channel of each, 0 the first.*got {'polyp': -1}"),
        ({"classes": {1: 1}}, "Expected classes by name.*got {1: 1}"),
        ({"classes": ["polyp"]}, "Expected classes by name"),
        ({"input_size": "64"}, "whole number of pixels, got '64'"),
        ({"input_size": -16, "multiple": 16}, "whole number of pixels, got -16"),
        ({"mean": (0.5, 0.5)}, "one mean and one positive std per channel"),
        ({"mean": (0.5, float("nan"), 0.5)}, "one mean and one positive std per channel"),
        ({"std": (1, "a", 1)}, "one mean and one positive std per channel"),
        ({"sides": True}, "Expected answer=... with sides"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, message, net, unchecked):
    with pytest.raises(ValueError, match=message):
        wrap(net, **options)


def test_no_callable_is_refused(unchecked):
    with pytest.raises(ValueError, match="a module or a callable, got a int"):
        wrap(3)


def test_models_that_differ_in_anything_have_other_hashes(net):
    same = [wrap(net), wrap(net)]
    others = [wrap(net, input_size=32), wrap(net, out="probabilities"), wrap(net, mean=(0.5,) * 3)]
    others += [wrap(scores(1)), wrap(grey), wrap(detached)]
    assert len({model.base_hash for model in same}) == 1
    assert len({model.base_hash for model in [*same, *others]}) == 1 + len(others)
    assert all("digest" in model.state_dict() for model in others)  # what an evaluation hashes


def test_side_maps_are_those_of_the_network_with_the_answer_last(pixels):
    model = wrap(Made(lambda x: [grey(x), 2 * grey(x), 3 * grey(x)]), answer=1, sides=True)
    maps = model.side_maps(pixels)
    torch.testing.assert_close(maps, torch.cat([k * grey(pixels) for k in (1, 3, 2)], dim=1))
    assert model(pixels).equal(maps[:, -1:])


@pytest.mark.parametrize(
    ("side", "kind", "message"),
    [
        (lambda x: with_nan(x), FloatingPointError, r"logits of a side map.*images \[1\]"),
        (lambda x: grey(x)[:, 0], ValueError, r"side map .*shape \(2, channels, height, width\)"),
        (lambda x: grey(x)[:1], ValueError, r"side map .*got torch.float32 of shape \(1, 1"),
        (lambda x: grey(x).long(), ValueError, r"side map of floating-point.*got torch.int64"),
    ],
)
def test_side_maps_that_are_none_are_refused(side, kind, message, pixels):
    model = wrap(Made(lambda x: [side(x), grey(x)]), answer=-1, sides=True)
    with pytest.raises(kind, match=message):
        model.side_maps(pixels)
    assert model(pixels).shape == (2, 1, 32, 32)  # the answer is one


def test_side_maps_may_be_coarser_than_the_answer(pixels):
    model = wrap(Made(lambda x: [F.avg_pool2d(grey(x), 4), grey(x)]), answer=-1, sides=True)
    assert model.side_maps(pixels).shape == (2, 2, 32, 32)


def test_a_dictionary_does_not_say_what_are_side_maps(pixels):
    returned = Made(lambda x: {"out": grey(x), "aux": grey(x)})
    model = wrap(returned, answer="out", sides=True)
    for ask in (model, model.side_maps):
        with pytest.raises(ValueError, match=r"dictionary with 'out', 'aux', which does not say"):
            ask(pixels)
    assert wrap(returned, answer="out").side_maps(pixels).shape == (2, 1, 32, 32)


def test_without_side_maps_the_answer_is_the_only_one(net, pixels):
    assert wrap(net).side_maps(pixels).equal(wrap(net)(pixels))


def test_what_was_trained_comes_back(net, pixels, tmp_path):
    model = wrap(net, name="mine")
    model.learn("all")
    with torch.no_grad():
        net.weight.add_(1)
    save_checkpoint(model, tmp_path)
    other = wrap(nn.Conv2d(3, 1, 3, padding=1))
    load_checkpoint(other, tmp_path)
    assert other(pixels).equal(model(pixels))


@pytest.mark.parametrize("what", ["adapters", "decoder"])
def test_parts_that_are_not_there_cannot_learn(what, net):
    with pytest.raises(ValueError, match=f"has no {what} that could learn"):
        wrap(net).learn(what)


def test_learning_is_what_was_asked_for(net, clipseg):
    model = wrap(net)
    model.learn("nothing")
    assert not any(p.requires_grad for p in model.parameters())
    model.learn("all")
    assert all(p.requires_grad for p in model.parameters())
    seg = load_model(clipseg, "dense-v")
    seg.learn("decoder")
    learning = {name for name, p in seg.net.named_parameters() if p.requires_grad}
    assert any("after_mlp" in name for name in learning)
    assert all(name.startswith("decoder.") or "after_" in name for name in learning)
    with pytest.raises(ValueError, match="no adapter that could learn"):
        load_model(clipseg).learn("adapters")


def test_prints_as_a_few_lines(net, clipseg):
    adapted = repr(load_model(clipseg, "dense-vl", width=4))
    assert adapted.count("\n") <= 4
    for told in ("VLSM(", "prompts: text", "adapter: dense-vl", "threshold: 0.5; device: cpu"):
        assert told in adapted
    wrapped = repr(wrap(net, input_size=16, threshold=0.3, name="mine"))
    assert wrapped == (
        "Wrapped('mine'\n  input: 16 x 16; prompts: ignored\n"
        "  parameters: 28, 28 trainable; adapter: None\n  threshold: 0.3; device: cpu)"
    )
    assert "Conv2d" in repr(wrap(net).net)
