"""Res2Net v1b (Gao et al., 2019, https://arxiv.org/abs/1904.01169): the encoder of PraNet.

In each bottleneck the channels are split into groups. The groups are convolved one after another,
and each is added to the output of the previous one first, so a block combines several receptive
fields. Version v1b has a stem of three convolutions and average pooling in its shortcuts.
Parameters have the names of the published weights.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

_EXPANSION = 4  # output channels of a block per plane
_GROUPS = 4  # groups of channels in a block


class Res2Net(nn.Module):
    """Res2Net encoder with four stages at strides 4, 8, 16 and 32.

    Args:
        depths: Number of blocks in each stage.
        planes: Width of the first stage; the width doubles with each stage.
        base_width: Channels per group in blocks with 64 planes.
        labels: Outputs of the classifier, which is unused but part of the published weights.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 4, 6, 3),
        planes: int = 64,
        base_width: int = 26,
        labels: int = 1000,
    ) -> None:
        super().__init__()
        self.conv1 = _stem(planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before, stages = planes, list[nn.Sequential]()
        for index, depth in enumerate(depths):
            wide, stride = planes * 2**index, 1 if index == 0 else 2
            stages.append(_stage(before, wide, depth, stride, wide * base_width // 64))
            before = wide * _EXPANSION
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(before, labels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Features of normalised pixels at strides 8, 16 and 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(pixels))))
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return [eighth, sixteenth, self.layer4(sixteenth)]


class Bottleneck(nn.Module):
    """Res2Net bottleneck block.

    The first block of a stage changes the resolution or width. In it, the groups are convolved
    independently, and the last group, which no block convolves, is average-pooled.
    """

    def __init__(self, before: int, planes: int, width: int, stride: int, *, first: bool) -> None:
        super().__init__()
        self.width, self.first = width, first
        self.conv1 = nn.Conv2d(before, width * _GROUPS, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width * _GROUPS)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride, padding=1, bias=False) for _ in range(_GROUPS - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(_GROUPS - 1))
        self.conv3 = nn.Conv2d(width * _GROUPS, planes * _EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * _EXPANSION)
        self.relu = nn.ReLU()
        self.rest = nn.AvgPool2d(3, stride, padding=1) if first else nn.Identity()
        self.downsample = _shortcut(before, planes * _EXPANSION, stride) if first else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d height width"]:
        *groups, last = self.relu(self.bn1(self.conv1(x))).split(self.width, dim=1)
        found: list[Tensor] = []
        for group, conv, norm in zip(groups, self.convs, self.bns, strict=True):
            chained = group if self.first or not found else found[-1] + group
            found.append(self.relu(norm(conv(chained))))
        joined = torch.cat([*found, self.rest(last)], dim=1)
        made: Tensor = self.relu(self.bn3(self.conv3(joined)) + self.downsample(x))
        return made


def _stem(planes: int) -> nn.Sequential:
    half = planes // 2
    return nn.Sequential(
        nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(),
        nn.Conv2d(half, half, 3, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(),
        nn.Conv2d(half, planes, 3, padding=1, bias=False),
    )


def _stage(before: int, planes: int, depth: int, stride: int, width: int) -> nn.Sequential:
    first = Bottleneck(before, planes, width, stride, first=True)
    others = (
        Bottleneck(planes * _EXPANSION, planes, width, 1, first=False) for _ in range(depth - 1)
    )
    return nn.Sequential(first, *others)


def _shortcut(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
        nn.Conv2d(before, after, 1, bias=False),
        nn.BatchNorm2d(after),
    )
