"""A model that is turned within a few grey levels, though not at once."""

import torch
from torch import nn


class Textures(nn.Module):
    """Random weights that see nothing but texture, so that little contrast is easily turned."""

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(3)
        padding = {"padding": "same", "padding_mode": "reflect"}
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, **padding), nn.Softplus(), nn.Conv2d(8, 1, 3, **padding)
        )
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.6, generator=random)

    def forward(self, images):
        logits = self.layers(images)
        return 20 * (logits - logits.mean((1, 2, 3), keepdim=True))
