from copy import deepcopy

import jaxtyping
import pytest
import torch

from palpate.attacks.text import PromptSource, View
from palpate.randomness import generator

from . import listening


@pytest.fixture(scope="session")
def loaded(tmp_path_factory):
    """Nobody may change it."""
    return listening.listening(listening.write_model(tmp_path_factory.mktemp("clipseg")))


@pytest.fixture
def model(loaded):
    return deepcopy(loaded)


@pytest.fixture
def pixels():
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def mask(model, pixels):
    """What the model says to the prompt: any change of its answer is harm."""
    return listening.answered(model, pixels, [listening.PROMPT])


@pytest.fixture
def view(model, pixels, mask):
    return View(model, pixels, mask)


@pytest.fixture
def source():
    return PromptSource(
        listening.PROMPT,
        own=("", "polyp", "pink polyp", listening.PROMPT),
        beside=("red polyp", "pink polyp"),
        others=("polyp", "skin", "dark skin", ""),
    )


@pytest.fixture
def random():
    return lambda: generator(0, "a sample")


@pytest.fixture
def unchecked(monkeypatch):
    """Switches run-time type checking off, as it is for users, to see our own errors."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
