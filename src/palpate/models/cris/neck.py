"""The neck of CRIS, which fuses three feature levels and the sentence embedding."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.models.cris.config import CrisConfig
from palpate.models.cris.layers import RowNorm, convolution, double, with_coordinates


class CoordinateConvolution(nn.Module):
    """CoordConv (Liu et al., 2018, https://arxiv.org/abs/1807.03247).

    A convolution with the pixel coordinates as additional input channels.
    """

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.conv1 = convolution(features + 2, out, 3)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        out: Tensor = self.conv1(with_coordinates(x))
        return out


class Neck(nn.Module):
    """Fuses three feature levels and the sentence embedding into one feature map at stride 16."""

    def __init__(self, config: CrisConfig) -> None:
        super().__init__()
        in3, in4, in5 = config.stem * 8, config.stem * 16, config.joint
        out3, out4, out5 = config.neck
        self.txt_proj = nn.Sequential(nn.Linear(in5, out5, bias=False), RowNorm(out5), nn.ReLU())
        self.f1_v_proj = convolution(in5, out5, 1)
        self.norm_layer = nn.Sequential(nn.BatchNorm2d(out5), nn.ReLU())
        self.f2_v_proj = convolution(in4, out4, 3)
        self.f2_cat = convolution(out5 + out4, out4, 1)
        self.f3_v_proj = convolution(in3, out3, 3)
        self.f3_cat = convolution(out3 + out4, out4, 1)
        self.f4_proj5 = convolution(out5, out4, 3)
        self.f4_proj4 = convolution(out4, out4, 3)
        self.f4_proj3 = convolution(out4, out4, 3)
        self.aggr = convolution(3 * out4, out4, 1)
        self.coordconv = nn.Sequential(
            CoordinateConvolution(out4, out4), convolution(out4, out4, 3)
        )

    def forward(
        self, levels: Sequence[Float[Tensor, "b _ _ _"]], sentence: Float[Tensor, "b j"]
    ) -> Float[Tensor, "b c h w"]:
        """Fuse three feature levels, finest first, and the sentence embeddings ``(b, j)``."""
        fine, middle, coarse = levels
        gate = self.txt_proj(sentence)[:, :, None, None]
        # The sentence gates the channels of the coarsest level.
        coarse = self.norm_layer(self.f1_v_proj(coarse) * gate)
        middle = self.f2_cat(torch.cat([self.f2_v_proj(middle), double(coarse)], dim=1))
        fine = F.avg_pool2d(self.f3_v_proj(fine), 2)
        fine = self.f3_cat(torch.cat([fine, middle], dim=1))
        parts = [self.f4_proj3(fine), self.f4_proj4(middle), double(self.f4_proj5(coarse))]
        out: Tensor = self.coordconv(self.aggr(torch.cat(parts, dim=1)))
        return out
