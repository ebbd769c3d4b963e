"""A small model made from a large one: distillation, then training of every weight."""

import pytest
import torch

from palpate.data import PromptPolicy, load_data
from palpate.data.phantoms import phantom_data
from palpate.models import StudentSize, build_from_dinov2, load_model, shrink
from palpate.models.files.weights import read_weights
from palpate.models.from_backbone.dinov2 import NewParts
from palpate.training import distil, train_whole

from ..models import tiny
from ..models.test_dinov2 import dinov2
from .runs import Stopped, same_tensors, settings, table, tensors

SIDE = 56


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    dinov2().save_pretrained(folder / "dinov2")
    vocabulary = tiny.write_tokenizer(folder / "texts")
    parts = NewParts(
        text_width=16, text_layers=2, text_heads=2, vocabulary=vocabulary,
        end_of_text=vocabulary - 1, extract_layers=(1, 2, 3), reduce_dim=8, decoder_hidden=16,
        input_size=SIDE,
    )  # fmt: skip
    return build_from_dinov2(folder / "dinov2", folder / "texts", folder / "built", parts=parts)


@pytest.fixture(scope="module")
def student(teacher, tmp_path_factory):
    size = StudentSize(width=16, layers=4, heads=2)
    return shrink(teacher, tmp_path_factory.mktemp("student"), size)


@pytest.fixture
def data(data_root):
    return load_data("folder", data_root, split="train", size=SIDE, check=False)


@pytest.fixture
def held_out(data_root):
    return load_data("folder", data_root, split="val", size=SIDE, check=False)


def test_a_taught_student_agrees_more_and_only_its_tower_moved(
    student, teacher, data, held_out, tmp_path
):
    before = read_weights(teacher)
    distil(student, teacher, data, held_out, tmp_path, settings())
    agreement = [float(row["agreement"]) for row in table(tmp_path / "work")]
    assert agreement[-1] > agreement[0]
    old, new = read_weights(student), read_weights(tmp_path)
    moved = {name for name in old if not old[name].equal(new[name])}
    assert moved
    assert all(name.startswith("clip.vision_model") for name in moved)
    same_tensors(before, read_weights(teacher))


def test_agreement_is_the_cosine_of_what_both_see(teacher, data):
    from palpate.training.distil import Pupil, _agreement
    from palpate.training.train import TrainingImages

    pupil = Pupil(load_model(teacher), load_model(teacher))
    with torch.no_grad():
        for one in pupil.maps:
            one.weight.copy_(torch.eye(24))
            one.bias.zero_()
    assert _agreement(pupil, TrainingImages(data), settings()) == pytest.approx(1.0, abs=1e-5)


def test_a_stopped_distillation_goes_on_to_the_same_weights(
    student, teacher, data, held_out, tmp_path
):
    def stop(stage, done, total, note=""):
        if done == 5:
            raise Stopped

    distil(student, teacher, data, held_out, tmp_path / "whole", settings())
    with pytest.raises(Stopped):
        distil(student, teacher, data, held_out, tmp_path / "cut", settings(), progress=stop)
    distil(student, teacher, data, held_out, tmp_path / "cut", settings())
    same_tensors(tensors(tmp_path / "whole" / "work"), tensors(tmp_path / "cut" / "work"))


def test_the_whole_model_learns_and_loads(student, data, held_out, tmp_path):
    train_whole(student, data, held_out, tmp_path, settings(epochs=6))
    losses = [float(row["loss"]) for row in table(tmp_path / "work")]
    assert losses[-1] < losses[0]
    old, new = read_weights(student), read_weights(tmp_path)
    still = [name for name in old if old[name].equal(new[name])]
    # What lies beyond the last tap takes no part.
    unused = ("post_layernorm", "logit_scale", "visual_projection")
    assert all(any(part in name for part in unused) for name in still), still
    model = load_model(tmp_path)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_fresh_phantoms_are_others_in_every_epoch():
    policy = PromptPolicy("random", seed=0)
    data = phantom_data("phantom-echo", policy, split="train", size=32, count=7, fresh=True)
    epochs = [[case.key for case in data.with_epoch(e).cases] for e in range(3)]
    assert [len(keys) for keys in epochs] == [7, 7, 7]
    assert len({key for keys in epochs for key in keys}) == 21
    assert epochs[1] == [case.key for case in data.with_epoch(1).cases]
    same = phantom_data("phantom-echo", policy, split="train", size=32, count=7)
    assert [c.key for c in same.cases] == epochs[0]
    assert [c.key for c in same.with_epoch(2).cases] == epochs[0]
