"""CLIP's ResNet as used in CRIS: features at three levels, without pooling to a single vector.

It differs from torchvision's ResNet (Radford et al., 2021, https://arxiv.org/abs/2103.00020): the
stem has three convolutions, and bottlenecks downsample by average pooling before a convolution
instead of a strided convolution.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.models.cris.attention import heads_apart
from palpate.models.cris.config import CrisConfig

_EXPANSION = 4


class Bottleneck(nn.Module):
    """Three convolutions with a residual connection."""

    def __init__(self, features: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out = width * _EXPANSION
        self.conv1 = nn.Conv2d(features, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(stride)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or features != out:
            # As in the original, the pooling is named "-1".
            shortcut = {"-1": nn.AvgPool2d(stride), "0": nn.Conv2d(features, out, 1, bias=False)}
            self.downsample = nn.Sequential(OrderedDict(**shortcut, **{"1": nn.BatchNorm2d(out)}))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d hh ww"]:
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(self.pool(inner)))
        return F.relu(inner + self.downsample(x))


class SpatialPooling(nn.Module):
    """CLIP's attention pooling with a query at every position, and a residual connection.

    CLIP pools all positions into one vector, whereas CRIS needs a feature at each position.
    """

    def __init__(self, features: int, heads: int, out: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.positional_embedding = nn.Parameter(torch.randn(side**2 + 1, features) / features**0.5)
        self.k_proj, self.q_proj = nn.Linear(features, features), nn.Linear(features, features)
        self.v_proj, self.c_proj = nn.Linear(features, features), nn.Linear(features, out)
        self.connect = nn.Sequential(nn.Conv2d(features, out, 1, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        grid = (x.shape[2], x.shape[3])
        places = (x + self._positions(grid)).flatten(2).transpose(1, 2)
        query, key, value = (
            heads_apart(project(places), self.heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        found: Tensor = self.c_proj(mixed)
        return F.relu(found.transpose(1, 2).reshape(len(x), -1, *grid) + self.connect(x))

    def _positions(self, grid: tuple[int, int]) -> Float[Tensor, "1 c h w"]:
        """Position embeddings interpolated (bicubic), without the one for CLIP's pooled vector."""
        trained = self.positional_embedding[1:].T.reshape(1, -1, self.side, self.side)
        return F.interpolate(trained, size=grid, mode="bicubic", align_corners=False)


class ImageEncoder(nn.Module):
    """The image encoder: features at strides 8, 16 and 32."""

    def __init__(self, config: CrisConfig) -> None:
        super().__init__()
        width = config.stem
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, config.stages[0], stride=1)
        self.layer2 = _stage(width * 4, width * 2, config.stages[1], stride=2)
        self.layer3 = _stage(width * 8, width * 4, config.stages[2], stride=2)
        self.layer4 = _stage(width * 16, width * 8, config.stages[3], stride=2)
        self.attnpool = SpatialPooling(
            width * 32, config.image_heads, config.joint, config.pool_side
        )

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Features at strides 8, 16 and 32, in this order."""
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        fine = self.layer2(self.layer1(x))
        middle = self.layer3(fine)
        return [fine, middle, self.attnpool(self.layer4(middle))]


def _stage(features: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(features, width, stride)
    rest = (Bottleneck(width * _EXPANSION, width) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
