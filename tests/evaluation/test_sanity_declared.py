"""What a model says of itself, and what is found."""

from functools import partial

import pytest
import torch
from torch import nn

from palpate.evaluation.sanity import card_from_model
from palpate.evaluation.sanity.declared import declared

from .blobs import BlobFinder, blobs


class Rounding(BlobFinder):
    def forward(self, images, prompts):
        return super().forward((images * 32).round() / 32, prompts)


class NoGradTower(BlobFinder):
    """As published CLIPSeg: only what comes after the features has a gradient."""

    def forward(self, images, prompts):
        with torch.no_grad():
            features = super().forward(images, prompts)
        return features * torch.ones(1, requires_grad=True)


class Shuffling(BlobFinder):
    """So many ways of moving the image that two looks may well meet the same one."""

    def __init__(self):
        super().__init__()
        self.random = torch.Generator().manual_seed(0)

    def forward(self, images, prompts):
        shift = int(torch.randint(-1, 2, (), generator=self.random))
        return super().forward(images.roll(shift, dims=3), prompts)


class Saturating(BlobFinder):
    def forward(self, images, prompts):
        return 1e4 * super().forward(images, prompts)


class Substituting(BlobFinder):
    """Rounds, and lets the gradient pass as if it did not."""

    def forward(self, images, prompts):
        rounded = (images * 255).round() / 255
        return super().forward(images + (rounded - images).detach(), prompts)


def check_of(model):
    card = card_from_model(model, blobs(2), epsilon=32 / 255, steps=3)
    return next(check for check in card if check.number == 13)


@pytest.mark.parametrize(
    ("model", "declaration", "status"),
    [
        (BlobFinder, {}, "pass"),
        (BlobFinder, {"is_random": False, "is_differentiable": True}, "pass"),
        (BlobFinder, {"is_random": True}, "warn"),
        (Shuffling, {}, "fail"),
        (Shuffling, {"is_random": False}, "fail"),
        (Shuffling, {"is_differentiable": False}, "fail"),
        (Shuffling, {"is_random": True}, "pass"),
        (Rounding, {}, "fail"),
        (Rounding, {"is_differentiable": True}, "fail"),
        (Rounding, {"is_random": True}, "fail"),
        (Rounding, {"is_differentiable": False}, "pass"),
        (NoGradTower, {}, "fail"),
        (NoGradTower, {"is_differentiable": False}, "pass"),
        (Substituting, {"is_differentiable": False}, "pass"),
        (Saturating, {}, "pass"),  # every stage has a gradient; 11 says that it is too steep
    ],
)
def test_what_is_found_has_to_be_declared(model, declaration, status):
    subject = model()
    for name, value in declaration.items():
        setattr(subject, name, value)
    assert check_of(subject).status == status


def test_the_check_says_what_it_found_and_what_was_said():
    model = Rounding()
    model.is_random = False
    measured = check_of(model).measured
    assert "differ by up to 0," in measured
    assert "2 of 2 images have no gradient" in measured
    assert "is_random False, is_differentiable not stated" in measured


class Wrapper:
    def __init__(self, model, **declaration):
        self.model = model
        self.__dict__.update(declaration)

    def __call__(self, images, prompts):
        return self.model(images, prompts)


def ask(model):
    return declared(model, "is_random", prevailing=True)


def test_a_part_or_a_wrapper_may_declare():
    part = BlobFinder()
    part.smooth.is_random = True
    assert ask(part) is True
    assert ask(Wrapper(part)) is True
    assert ask(partial(Wrapper(part), prompts=["a"])) is True
    assert ask(nn.Sequential(nn.ReLU(), part)) is True
    assert ask(BlobFinder()) is None
    assert ask(lambda images: images) is None


def test_a_wrapper_speaks_for_what_it_wraps():
    part = BlobFinder()
    part.is_random = True
    assert ask(Wrapper(part, is_random=False)) is False


def test_of_parts_that_differ_the_graver_declaration_holds():
    parts = nn.Sequential(nn.ReLU(), nn.Sigmoid())
    parts[0].is_random, parts[1].is_random = False, True
    parts[0].is_differentiable, parts[1].is_differentiable = True, False
    assert ask(parts) is True
    assert declared(parts, "is_differentiable", prevailing=False) is False
    parts[1].is_random = False
    assert ask(parts) is False


def test_too_little_memory_is_no_missing_gradient(monkeypatch):
    def exhausted(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("palpate.evaluation.sanity.declared.count_without", exhausted)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        card_from_model(BlobFinder(), blobs(1), epsilon=32 / 255, steps=1)
