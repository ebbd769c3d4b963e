"""Building blocks of PraNet's decoder, with the parameter names of the published weights."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class NormedConv(nn.Module):
    """Convolution without bias and batch normalisation, without activation."""

    def __init__(
        self, before: int, after: int, kernel: int | tuple[int, int] = 3, dilation: int = 1
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (sides[0] // 2), dilation * (sides[1] // 2))
        self.conv = nn.Conv2d(before, after, sides, 1, padding, dilation, bias=False)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        made: Tensor = self.bn(self.conv(x))
        return made


class ReceptiveField(nn.Module):
    """Receptive field block (Liu et al., 2018, https://arxiv.org/abs/1711.07767).

    Four parallel branches with increasing receptive fields. Branches 1 to 3 have convolutions of
    1 x k and k x 1 pixels, then one of 3 x 3 pixels with dilation k, for k = 3, 5 and 7.
    """

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(NormedConv(before, channels, 1))
        self.branch1, self.branch2, self.branch3 = (
            nn.Sequential(
                NormedConv(before, channels, 1),
                NormedConv(channels, channels, (1, reach)),
                NormedConv(channels, channels, (reach, 1)),
                NormedConv(channels, channels, 3, dilation=reach),
            )
            for reach in (3, 5, 7)
        )
        self.conv_cat = NormedConv(4 * channels, channels)
        self.conv_res = NormedConv(before, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        branches = (self.branch0, self.branch1, self.branch2, self.branch3)
        joined: Tensor = self.conv_cat(torch.cat([branch(x) for branch in branches], dim=1))
        return F.relu(joined + self.conv_res(x))


class PartialDecoder(nn.Module):
    """Partial decoder (Wu et al., 2019, https://arxiv.org/abs/1904.08739).

    Predicts a coarse map from the features of the three deepest stages. Shallower features are
    multiplied by deeper ones, then all are concatenated.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_upsample1 = NormedConv(channels, channels)
        self.conv_upsample2 = NormedConv(channels, channels)
        self.conv_upsample3 = NormedConv(channels, channels)
        self.conv_upsample4 = NormedConv(channels, channels)
        self.conv_upsample5 = NormedConv(2 * channels, 2 * channels)
        self.conv_concat2 = NormedConv(2 * channels, 2 * channels)
        self.conv_concat3 = NormedConv(3 * channels, 3 * channels)
        self.conv4 = NormedConv(3 * channels, 3 * channels)
        self.conv5 = nn.Conv2d(3 * channels, 1, 1)

    def forward(self, deep: Tensor, middle: Tensor, shallow: Tensor) -> Tensor:
        """Compute the coarse map, at the size of ``shallow``, four times the sides of ``deep``."""
        raised = _doubled(deep)
        told = self.conv_upsample1(raised) * middle
        both = self.conv_concat2(torch.cat([told, self.conv_upsample4(raised)], dim=1))
        told = self.conv_upsample2(_doubled(raised)) * self.conv_upsample3(_doubled(middle))
        joined = torch.cat([told * shallow, self.conv_upsample5(_doubled(both))], dim=1)
        found: Tensor = self.conv5(self.conv4(self.conv_concat3(joined)))
        return found


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
