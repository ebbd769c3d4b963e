"""Convolutions with batch normalisation, which neck and projector are made of."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def convolution(features: int, out: int, kernel: int) -> nn.Sequential:
    """A convolution that keeps the size, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(features, out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )


class RowNorm(nn.BatchNorm1d):
    """Batch normalisation of vectors that takes a batch of one, too.

    One vector has no spread. PyTorch refuses it in training mode, which would end a training
    whenever the last batch of an epoch is a single image; here the running statistics stand in.
    """

    def forward(self, input: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:  # noqa: A002
        if self.training and len(input) == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def double(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c hh ww"]:
    """Twice as high and wide."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def with_coordinates(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b cc h w"]:
    """Two more channels that say where a pixel is: x, then y, from -1 to 1."""
    b, _, h, w = x.shape
    across = torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype).expand(b, 1, h, w)
    down = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype)[:, None].expand(b, 1, h, w)
    return torch.cat([x, across, down], dim=1)
