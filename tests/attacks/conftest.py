import jaxtyping
import pytest
import torch
from torch import Tensor, nn


class SmallNet(nn.Module):
    """Random weights, smooth, every logit sees a neighbourhood: nothing has a closed form."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(3)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.Softplus(), nn.Conv2d(8, 1, 3, padding=1)
        )
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.6, generator=random)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.layers(images)
        return 3 * (logits - logits.mean((1, 2, 3), keepdim=True))  # both classes in every image


@pytest.fixture
def net() -> SmallNet:
    return SmallNet().eval()


@pytest.fixture
def without_shape_checks():
    """In the tests they would be first to complain; users do not have them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
