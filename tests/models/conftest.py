import jaxtyping
import pytest
import torch

from . import tiny


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    """Number of tokens of the tiny tokenizer; the last one ends a text."""
    return tiny.write_tokenizer(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="session")
def hf(vocabulary):
    """Hugging Face's own model of the tiny CLIPSeg; nobody may change it."""
    return tiny.hugging_face(tiny.config(vocabulary))


@pytest.fixture(scope="session")
def clipseg(hf, tmp_path_factory):
    """Directory of the tiny CLIPSeg with its tokenizer; nobody may change it."""
    folder = tmp_path_factory.mktemp("clipseg")
    hf.save_pretrained(folder)
    tiny.write_tokenizer(folder)
    return folder


@pytest.fixture
def pixels():
    """Two images of the tiny model's size."""
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def unchecked(monkeypatch):
    """Switches run-time type checking off, as it is for users, to see our own errors."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def weights_root(real_root):
    return real_root / "weights"
