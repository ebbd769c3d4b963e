"""Layers shared by neck and projector."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def convolution(features: int, out: int, kernel: int) -> nn.Sequential:
    """A convolution that preserves the spatial size, batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(features, out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )


class RowNorm(nn.BatchNorm1d):
    """Batch normalisation of vectors that also accepts a batch of one in training mode.

    PyTorch raises an error for a single vector, since it has no variance. Training would then fail
    if the last batch of an epoch has one image. Here the running statistics are used instead.
    """

    def forward(self, input: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:  # noqa: A002
        if self.training and len(input) == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def double(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c hh ww"]:
    """Upsample by a factor of two (bilinear)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def with_coordinates(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b cc h w"]:
    """Append two channels with the x and y coordinate of each pixel, from -1 to 1."""
    b, _, h, w = x.shape
    across = torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype).expand(b, 1, h, w)
    down = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype)[:, None].expand(b, 1, h, w)
    return torch.cat([x, across, down], dim=1)
