from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch

from palpate.attacks import bpda, fgsm, pgd
from palpate.attacks.bpda.stages import BitDepth
from palpate.attacks.losses import Tsallis, margin
from palpate.evaluation.results.describe import describe, describe_model, hash_weights
from palpate.evaluation.results.fingerprint import differences, hash_data
from palpate.models import load_model, wrap

from .blobs import BlobFinder, blobs

CASES = [sample.case for sample in blobs(2)]


def reshaped(model):
    return torch.nn.Parameter(model.smooth.weight.view(4, 3, 9, 1))


def changed(change):
    model = BlobFinder()
    model.register_buffer("threshold", torch.zeros(1))
    with torch.no_grad():
        change(model)
    return model


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.smooth.weight[0, 0, 0, 0].add_(1e-7),
        lambda model: model.threshold.add_(1),
        lambda model: model.register_buffer("another", torch.zeros(1)),
        lambda model: model.smooth.to(torch.bfloat16),
        lambda model: model.smooth.register_parameter("weight", reshaped(model)),
    ],
)
def test_whatever_changes_in_a_model_changes_its_hash(change):
    same = changed(lambda model: model.train())
    assert hash_weights(changed(change)) != hash_weights(same)
    assert hash_weights(changed(lambda model: model.eval())) == hash_weights(same)


@pytest.mark.parametrize("name", ["key", "prompt", "group", "split"])
def test_whatever_is_known_about_the_data_is_in_their_hash(name):
    other = [CASES[0], replace(CASES[1], **{name: "other"})]
    assert hash_data(None, other) != hash_data(None, CASES)
    assert hash_data(None, CASES[::-1]) != hash_data(None, CASES)


def test_the_size_images_get_is_in_the_hash_of_the_data():
    class Sized:
        def __init__(self, size):
            self.size = size

    assert hash_data(Sized(224), CASES) != hash_data(Sized(352), CASES)


def test_how_a_model_prepares_images_and_reads_its_output_tells_it_apart():
    net = torch.nn.Conv2d(3, 2, 1)
    described = [
        describe_model(wrap(net, **options))
        for options in (
            {"out": "classes"},
            {"out": "classes", "classes": {"polyp": 1}},
            {"out": "classes", "mean": (0.5, 0.5, 0.5)},
            {"out": "classes", "multiple": 2},
            {"out": "probabilities", "answer": 1},
        )
    ]
    assert all(a != b for a, b in combinations(described, 2))
    assert describe_model(wrap(net, out="classes")) == described[0]


def test_code_of_ones_own_tells_a_model_apart_and_that_of_a_package_does_not(tmp_path):
    def made(body):
        (tmp_path / "mine.py").write_text(f"""
from torch import nn

class Net(nn.Conv2d):
    def forward(self, images):
        return {body}

def make():
    return Net(3, 1, 1)
""")
        return describe_model(load_model(f"{tmp_path / 'mine.py'}:make"))

    plain = made("super().forward(images)")
    assert made("super().forward(images)") == plain
    assert made("super().forward(images).round()")["model.code"] != plain["model.code"]
    of_packages = (torch.nn.Conv2d(3, 1, 1), torch.nn.ReLU())
    assert len({describe_model(wrap(net))["model.code"] for net in of_packages}) == 1


def test_functions_that_stand_for_models_are_told_apart():
    first = describe_model(wrap(lambda images: images.mean(1, keepdim=True)))
    other = describe_model(wrap(lambda images: images.amax(1, keepdim=True)))
    assert first["model.code"] != other["model.code"]


def test_stages_in_front_of_a_model_tell_it_apart_the_same_in_every_process():
    def coarse(levels):
        return lambda images: (images * levels).round() / levels

    net = torch.nn.Conv2d(3, 1, 1)
    first, again, other = (bpda(coarse(levels), net) for levels in (8, 8, 4))
    assert hash_weights(first) == hash_weights(again)  # though each function is elsewhere
    assert describe_model(first) == describe_model(again)
    assert describe_model(first)["model.code"] != describe_model(other)["model.code"]
    code = {describe_model(bpda(BitDepth(bits), net))["model.code"] for bits in (3, 4)}
    assert len(code) == 1  # rows of before go on: that one is told by its name
    assert hash_weights(bpda(BitDepth(3), net)) != hash_weights(bpda(BitDepth(4), net))


def test_rows_of_before_models_were_described_go_with_those_of_now():
    assert not differences({"weights": "a", "model.multiple": "1"}, {"weights": "a"})
    assert differences({"model.multiple": "1"}, {"model.multiple": "2"})


def test_an_attack_is_described_with_all_its_settings():
    text = describe(partial(pgd, steps=7, loss=margin, epsilon=0.1))
    assert text.startswith("palpate.attacks.pgd(")
    assert "steps=7" in text
    assert "restarts=1" in text
    assert "loss=palpate.attacks.margin(" in text
    assert "epsilon" not in text  # a column of the rows
    assert text != describe(partial(pgd, steps=8, loss=margin))


def test_descriptions_hold_no_addresses():
    class Odd:
        def __call__(self, *_, helper=object()): ...  # noqa: B008

    for attack in (Odd(), partial(fgsm, loss=lambda *_: None), Odd().__call__):
        assert "0x" not in describe(attack)


def test_tensors_are_described_by_their_values():
    one, other = (describe(partial(pgd, start=torch.full((2,), value))) for value in (0.0, 1.0))
    assert one != other


def test_only_attacks_may_be_missing_on_one_side():
    assert differences({"a": "1", "attack.x": "p"}, {"a": "1"}) == {}
    assert differences({"a": "1"}, {"a": "1", "attack.x": "p"}) == {}
    assert differences({"a": "1"}, {}) == {"a": ("1", "absent")}
    assert differences({"attack.x": "p"}, {"attack.x": "q"}) == {"attack.x": ("p", "q")}


def test_what_a_loss_was_made_with_is_part_of_its_name():
    assert describe(Tsallis()) != describe(Tsallis(first=-3.0))
    assert describe(partial(pgd, loss=Tsallis())) != describe(partial(pgd, loss=Tsallis(last=0.5)))


def made(strength):
    def attack(model, images, masks, *, epsilon):
        return images + strength * epsilon

    return attack


class Held:
    def __init__(self, strength):
        self.strength = strength

    def __call__(self, _model, images, _masks, *, epsilon):
        return images + self.strength * epsilon

    def method(self, _model, images, _masks, *, epsilon):
        return images - self.strength * epsilon


def with_values(values):
    return partial(pgd, start=values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (made(1), made(2)),
        (Held(1), Held(2)),
        (Held(1).method, Held(2).method),
        (partial(made, 1), partial(made, 2)),
        (partial(made(1), parts=[partial(pgd, epsilon=0.1)]),
         partial(made(1), parts=[partial(pgd, epsilon=0.2)])),
        (with_values(np.arange(5000)), with_values(np.arange(5000)[::-1])),
        (with_values({"a": torch.zeros(2000)}), with_values({"a": torch.ones(2000)})),
        (with_values(replace(CASES[0], key="a")), with_values(replace(CASES[0], key="b"))),
        (partial(pgd, surrogate=wrap(torch.nn.Identity(), mean=(0.5,) * 3)),
         partial(pgd, surrogate=wrap(torch.nn.Identity(), mean=(0.4,) * 3))),
    ],
    ids=["closure", "object", "method", "position", "inner epsilon", "array", "mapping",
         "dataclass", "surrogate"],
)  # fmt: skip
def test_whatever_an_attack_holds_tells_it_apart(one, other):
    assert describe(one) != describe(other)
    assert describe(one) == describe(one)
    assert "0x" not in describe(one)


def test_an_attack_that_holds_itself_is_described_all_the_same():
    attack = Held(1)
    attack.strength = attack
    assert describe(attack) == describe(attack)


def test_what_a_model_is_shown_tells_it_apart():
    plain, shown = (load_model("palpate/tiny") for _ in range(2))
    shown.show(torch.rand(1, 3, 32, 32))
    assert hash_weights(plain) == hash_weights(shown)
    assert describe_model(plain) != describe_model(shown)


def test_buffers_that_are_not_saved_tell_a_model_apart():
    def with_buffer(value):
        model = BlobFinder()
        model.register_buffer("noise", torch.full((2,), value), persistent=False)
        return model

    one, other = with_buffer(0.0), with_buffer(5.0)
    assert hash_weights(one) == hash_weights(other)
    assert differences(describe_model(one), describe_model(other)).keys() == {"model.buffers"}


def test_a_subclass_with_the_same_weights_is_another_model():
    class Rounding(BlobFinder):
        def forward(self, images, prompts):
            return super().forward(images, prompts).round()

    assert describe_model(Rounding())["model.code"] != describe_model(BlobFinder())["model.code"]
    plain = describe_model(torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1)))
    own = type("Own", (torch.nn.Sequential,), {"__module__": __name__})(torch.nn.Conv2d(3, 1, 1))
    assert plain["model.code"] == describe_model(own)["model.code"]  # without a source to look at


class Scaled(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.preprocessing = function, made(1)

    def forward(self, images):
        return 100 * self.function(images)


class ScaledAgain(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.preprocessing = function, made(1)

    def forward(self, images):
        return self.function(images)


def test_a_module_that_holds_a_function_is_told_by_both():
    one, other = (describe_model(kind(torch.relu)) for kind in (Scaled, ScaledAgain))
    assert one != other
    assert one == describe_model(Scaled(torch.relu))
    assert "0x" not in str(one)


OLDER = {
    "attack.pgd": "palpate.attacks.pgd.pgd(loss=palpate.attacks.losses.basic.bce(), steps=2)",
    "attack.sea": "palpate.attacks.sea.sea(losses=[palpate.attacks.losses.margin.margin()])",
    "attack.own": "mine.attacks.press(share=0.5, source 12)",
    "attack.made": "palpate.attacks.losses.weighted.make.<locals>.loss(w=1)",
}
TODAY = {
    "attack.pgd": "palpate.attacks.pgd(loss=palpate.attacks.bce(), steps=2)",
    "attack.sea": "palpate.attacks.sea(losses=[palpate.attacks.margin()])",
    "attack.own": "mine.attacks.press(share=0.5, source 12)",
    "attack.made": "palpate.attacks.make.<locals>.loss(w=1)",
}


def test_the_file_of_a_function_of_palpate_does_not_count():
    assert differences(TODAY, OLDER) == {}
    changed = TODAY | {"attack.pgd": TODAY["attack.pgd"].replace("steps=2", "steps=3")}
    assert list(differences(changed, OLDER)) == ["attack.pgd"]
    other = TODAY | {"attack.own": "mine.other.press(share=0.5, source 12)"}
    assert list(differences(other, OLDER)) == ["attack.own"]
    loss = TODAY | {"attack.sea": TODAY["attack.sea"].replace("margin", "bce")}
    assert list(differences(loss, OLDER)) == ["attack.sea"]
