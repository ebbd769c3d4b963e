"""PraNet (Fan et al., 2020, https://arxiv.org/abs/2006.11392).

::

    pixels -> Res2Net -> stages 2, 3, 4 -> receptive fields -> partial decoder -> global map
                             |  |  `-- reverse attention 4 <---------------------------'
                             |  `----- reverse attention 3 <---'
                             `-------- reverse attention 2 <---'  -> the answer

Reverse attention weights the features of a stage by one minus the foreground probability of the
coarser map, and adds the logits computed from them to that map.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.models.pranet.parts import NormedConv, PartialDecoder, ReceptiveField
from palpate.models.pranet.res2net import Res2Net


@dataclass(frozen=True)
class PraNetSize:
    """Sizes of a PraNet, with the published values as defaults."""

    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Number of blocks in each stage of the encoder."""
    planes: int = 64
    """Width of the encoder's first stage, and of reverse attention at stages 2 and 3."""
    base_width: int = 26
    """Channels per group in the encoder's blocks with 64 planes; proportional for other widths."""
    channels: int = 32
    """Width of the partial decoder."""
    labels: int = 1000
    """Outputs of the encoder's classifier, which is unused but part of the published weights."""

    def __post_init__(self) -> None:
        if len(self.depths) != 4 or min(self.depths) < 1:
            raise ValueError(f"Expected four depths >= 1, got {self.depths}.")
        if self.planes < 2 or self.planes * self.base_width < 64 or self.planes % 2:
            raise ValueError(
                "Expected an even number of planes and at least one channel in a group (planes x "
                f"base_width / 64), got planes {self.planes} and base_width {self.base_width}."
            )
        if self.channels < 1 or self.labels < 1:
            raise ValueError(
                f"Expected channels and labels >= 1, got {self.channels} and {self.labels}."
            )


class PraNet(nn.Module):
    """PraNet, from normalised images to four maps of logits; the last one is the segmentation.

    The sides of the input must be multiples of 32 pixels.
    """

    def __init__(self, size: PraNetSize = PraNetSize()) -> None:
        super().__init__()
        planes, channels = size.planes, size.channels
        self.resnet = Res2Net(size.depths, planes, size.base_width, size.labels)
        self.rfb2_1 = ReceptiveField(8 * planes, channels)
        self.rfb3_1 = ReceptiveField(16 * planes, channels)
        self.rfb4_1 = ReceptiveField(32 * planes, channels)
        self.agg1 = PartialDecoder(channels)
        self.ra4_conv1 = NormedConv(32 * planes, 4 * planes, 1)
        self.ra4_conv2 = NormedConv(4 * planes, 4 * planes, 5)
        self.ra4_conv3 = NormedConv(4 * planes, 4 * planes, 5)
        self.ra4_conv4 = NormedConv(4 * planes, 4 * planes, 5)
        self.ra4_conv5 = NormedConv(4 * planes, 1, 1)
        self.ra3_conv1 = NormedConv(16 * planes, planes, 1)
        self.ra3_conv2 = NormedConv(planes, planes)
        self.ra3_conv3 = NormedConv(planes, planes)
        self.ra3_conv4 = NormedConv(planes, 1)
        self.ra2_conv1 = NormedConv(8 * planes, planes, 1)
        self.ra2_conv2 = NormedConv(planes, planes)
        self.ra2_conv3 = NormedConv(planes, planes)
        self.ra2_conv4 = NormedConv(planes, 1)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the global map, and the maps after reverse attention at stages 4, 3 and 2.

        Args:
            pixels: Normalised images ``(b, 3, h, w)``.

        Returns:
            Logits ``(b, 1, h, w)`` for each map, resized to the size of the images.
        """
        # All following layers keep the channels-last layout, which halves the time of a bf16 pass.
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        second, third, fourth = self.resnet(pixels)
        coarse = self.agg1(self.rfb4_1(fourth), self.rfb3_1(third), self.rfb2_1(second))
        known = _scaled(coarse, 1 / 4)
        four = known + self._look_4(_left_out(known, fourth))
        known = _scaled(four, 2)
        three = known + self._look_3(_left_out(known, third))
        known = _scaled(three, 2)
        two = known + self._look_2(_left_out(known, second))
        return _scaled(coarse, 8), _scaled(four, 32), _scaled(three, 16), _scaled(two, 8)

    def _look_4(self, x: Tensor) -> Tensor:
        x = self.ra4_conv1(x)
        for conv in (self.ra4_conv2, self.ra4_conv3, self.ra4_conv4):
            x = F.relu(conv(x))
        found: Tensor = self.ra4_conv5(x)
        return found

    def _look_3(self, x: Tensor) -> Tensor:
        x = F.relu(self.ra3_conv2(self.ra3_conv1(x)))
        found: Tensor = self.ra3_conv4(F.relu(self.ra3_conv3(x)))
        return found

    def _look_2(self, x: Tensor) -> Tensor:
        x = F.relu(self.ra2_conv2(self.ra2_conv1(x)))
        found: Tensor = self.ra2_conv4(F.relu(self.ra2_conv3(x)))
        return found


def _left_out(known: Tensor, stage: Tensor) -> Tensor:
    return (1 - known.sigmoid()) * stage


def _scaled(logits: Tensor, factor: int | float) -> Tensor:
    return F.interpolate(logits, scale_factor=factor, mode="bilinear", align_corners=False)
