import gc
import os
import random
from pathlib import Path

import jaxtyping
import numpy
import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

torch.set_num_threads(1)  # for tensors this small, threads cost more than they save
gc.disable()  # until all is collected: what is imported stays, and is not garbage to look for

# `make test` always uses the same examples; `make test-slow` uses more, and new ones. Neither has
# a deadline, so that no test fails because a machine is slow.
settings.register_profile("fast", derandomize=True, database=None, max_examples=12, deadline=None)
settings.register_profile("random", max_examples=200, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("PALPATE_EXAMPLES", "fast"))


def _seed() -> None:
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)


def pytest_collection_finish() -> None:
    gc.freeze()  # later searches for garbage leave out modules and tests: a fifth of the time
    gc.set_threshold(20_000)  # most garbage goes by reference counting; a search is seldom needed
    gc.enable()


# Weights and images that a test draws without a generator are always the same ones, whichever
# process runs the test and whatever ran there before. Twice, for a fixture that is set up for one
# test and used by others would move the numbers of that one.
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    _seed()


class PixelClassifier(nn.Module):
    """Logit = w . x + bias at every pixel, so that the optimal attack has a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, kernel_size=1)
        nn.init.constant_(self.conv.bias, -2.3)  # logits of both signs
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([7.0, -4.0, 2.0]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)


@pytest.fixture
def model() -> PixelClassifier:
    return PixelClassifier().eval()


@pytest.fixture
def images() -> Tensor:
    """Away from 0 and 1, so that only the ball binds; ever brighter, so gradients differ."""
    noise = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return 0.2 + 0.1 * noise + torch.tensor([0.0, 0.15, 0.3, 0.45]).view(4, 1, 1, 1)


@pytest.fixture
def masks() -> Tensor:
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5


@pytest.fixture
def without_shape_checks():
    """`make test-slow` has them: they would be first to complain; users do not have them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def png_figures():
    """Figures are small PNGs; the tests of figures look at the other formats."""
    from palpate.reporting.figures import drawing

    def save(figure, folder, name, formats=()):
        return whole(figure, folder, name, formats=("png",))

    whole = drawing.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "save", save)
        patch.setitem(drawing._STYLE, "savefig.dpi", 50)
        yield


@pytest.fixture(scope="session")
def real_root():
    """The real images and weights; an empty variable, as make exports it, names none."""
    root = Path(os.environ.get("PALPATE_DATA") or "data")
    if not (root / "published-annotations").is_dir():  # what other folders of data lack
        pytest.skip(f"needs the bundle of real data in PALPATE_DATA, found none in {root}")
    return root
