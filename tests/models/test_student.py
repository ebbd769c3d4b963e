"""A student is its teacher with channels, heads and blocks left out."""

import pytest
import torch

from palpate.models import StudentSize, build_from_dinov2, load_model, shrink
from palpate.models.files.weights import read_weights
from palpate.models.from_backbone.dinov2 import NewParts

from .test_dinov2 import dinov2

SIZE = StudentSize(width=16, layers=4, heads=2)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, vocabulary):
    from . import tiny

    folder = tmp_path_factory.mktemp("teacher")
    dinov2(image_size=84).save_pretrained(folder / "dinov2")
    tiny.write_tokenizer(folder / "texts")
    parts = NewParts(
        text_width=16, text_layers=2, text_heads=2, vocabulary=vocabulary,
        end_of_text=vocabulary - 1, extract_layers=(1, 2, 3), reduce_dim=8, decoder_hidden=16,
        input_size=56,
    )  # fmt: skip
    return build_from_dinov2(folder / "dinov2", folder / "texts", folder / "built", parts=parts)


def test_a_student_of_full_size_is_the_teacher(teacher, tmp_path):
    shrink(teacher, tmp_path, StudentSize(width=24, layers=5, heads=3))
    images = torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    ours, theirs = (load_model(f)(images, prompts=["polyp", "skin"]) for f in (tmp_path, teacher))
    # Position embeddings were stretched once for good instead of at every call.
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_what_is_kept_are_whole_heads_and_even_channels(teacher, tmp_path):
    shrink(teacher, tmp_path, SIZE)
    large, small = read_weights(teacher), read_weights(tmp_path)
    name = "clip.vision_model.encoder.layers.1.self_attn.q_proj.weight"
    channels = [i * 24 // 16 for i in range(16)]
    heads = [0, 1]  # of three, evenly spaced
    rows = [8 * head + i for head in heads for i in range(8)]
    assert small[name].equal(large[name][rows][:, channels])
    hidden = "clip.vision_model.encoder.layers.3.mlp.fc1.bias"
    assert small[hidden].equal(large[hidden][[i * 96 // 64 for i in range(64)]])


def test_text_tower_stays_and_surplus_blocks_go(teacher, tmp_path):
    shrink(teacher, tmp_path, SIZE)
    large, small = read_weights(teacher), read_weights(tmp_path)
    texts = [name for name in large if "text_model" in name]
    assert texts
    assert all(small[name].equal(large[name]) for name in texts)
    assert not [name for name in small if "vision_model.encoder.layers.4" in name]


def test_a_student_answers_and_has_gradients(teacher, tmp_path):
    model = load_model(shrink(teacher, tmp_path, SIZE))
    images = torch.rand(1, 3, 40, 60, requires_grad=True)
    logits = model(images, prompts=["polyp"])
    assert logits.shape == (1, 1, 40, 60)
    logits.sum().backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("size", "match"),
    [
        (StudentSize(width=48, layers=4, heads=6), "no wider and no deeper"),
        (StudentSize(width=16, layers=6, heads=2), "no wider and no deeper"),
        (StudentSize(width=16, layers=4, heads=4), "8 channels each"),
        (StudentSize(width=16, layers=3, heads=2), "extract_layers among the 3 layers"),
    ],
)
def test_sizes_that_cannot_be(size, match, teacher, tmp_path):
    with pytest.raises(ValueError, match=match):
        shrink(teacher, tmp_path, size)
