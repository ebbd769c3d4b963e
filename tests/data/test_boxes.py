"""Boxes of masks, and which models are given them."""

import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palpate.data import boxes_of, collate, load_data
from palpate.data.boxes import WHOLE, Prompt, check_box


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.02, 0.5), st.integers(0, 10_000))
def test_holds_every_pixel_and_touches_one_at_each_edge(height, width, density, seed):
    source = torch.Generator().manual_seed(seed)
    masks = torch.rand(3, 1, height, width, generator=source) < density
    for mask, box in zip(masks[:, 0], boxes_of(masks), strict=True):
        if not mask.any():
            assert box == WHOLE
            continue
        left, right = round(box[0] * width), round(box[2] * width)
        top, bottom = round(box[1] * height), round(box[3] * height)
        inside = mask[top:bottom, left:right]
        assert inside.sum() == mask.sum()
        for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
            assert edge.any()


def test_edges_are_shares_of_width_and_height():
    mask = torch.zeros(1, 1, 10, 20, dtype=torch.bool)
    mask[0, 0, 2:5, 4:14] = True
    assert boxes_of(mask) == [(0.2, 0.2, 0.7, 0.5)]


def test_a_deprecated_prompt_is_its_text_everywhere_else():
    prompt = Prompt("polyp", (0.1, 0.2, 0.3, 0.4))
    assert prompt == "polyp"
    assert hash(prompt) == hash("polyp")
    assert {"polyp": 1}[prompt] == 1
    assert prompt.saying("skin") == "skin"
    assert prompt.saying("skin").box == prompt.box


def test_travels_between_processes():
    again = pickle.loads(pickle.dumps(Prompt("polyp", (0.1, 0.2, 0.3, 0.4))))
    assert (again, again.box) == ("polyp", (0.1, 0.2, 0.3, 0.4))


@pytest.mark.parametrize(
    "box",
    [
        (0.5, 0, 0.5, 1),
        (0, 0.6, 1, 0.5),
        (-0.1, 0, 1, 1),
        (0, 0, 1, 1.2),
        (float("nan"),) * 4,
        (0, 1),
    ],
)
def test_what_is_no_box_is_refused(box):
    with pytest.raises(ValueError, match="Expected a box of left, top"):
        check_box(box)


def test_samples_and_batches_have_the_box_of_their_true_mask():
    data = load_data("phantom-endoscopy", split="test", size=32, limit=3)
    samples = [data[i] for i in range(3)]
    batch = collate(samples)
    assert list(batch.boxes) == boxes_of(batch.masks) == [s.box for s in samples]
    assert batch.prompts == tuple(s.case.prompt for s in samples)
    assert {type(prompt) for prompt in (*batch.prompts, samples[0].prompt)} == {str}
    other = replace(batch, images=batch.images * 0, masks=~batch.masks)
    assert other.boxes == batch.boxes  # whatever becomes of images and masks
