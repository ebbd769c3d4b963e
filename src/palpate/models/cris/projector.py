"""The projector of CRIS: a convolution whose kernel is computed from the sentence embedding."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.models.cris.config import CrisConfig
from palpate.models.cris.layers import convolution

_KERNEL = 3


class Projector(nn.Module):
    """Computes logits at four times the resolution of the features, with one kernel per prompt."""

    def __init__(self, config: CrisConfig) -> None:
        super().__init__()
        wide, narrow = config.text, config.text // 2
        self.vis = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"),
            convolution(wide, wide, 3),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            convolution(wide, narrow, 3),
            nn.Conv2d(narrow, narrow, 1),
        )
        self.txt = nn.Linear(config.joint, narrow * _KERNEL**2 + 1)

    def forward(
        self, features: Float[Tensor, "b c h w"], sentence: Float[Tensor, "b j"]
    ) -> Float[Tensor, "b 1 hh ww"]:
        x = self.vis(features)
        kernels = self.txt(sentence)
        weight = kernels[:, :-1].reshape(-1, x.shape[1], _KERNEL, _KERNEL)
        # A grouped convolution with one group per image applies a different kernel to each image.
        logits = F.conv2d(
            x.flatten(0, 1)[None], weight, kernels[:, -1], padding=_KERNEL // 2, groups=len(x)
        )
        return logits.transpose(0, 1)
