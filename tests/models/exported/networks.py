"""Small networks that the tests write to files."""

import torch
from torch import nn

from palpate.randomness import seeded

IMAGES = torch.rand(3, 3, 32, 40, generator=torch.Generator().manual_seed(0))


def net(channels=3, outside=1, *more):
    with seeded(0):
        layers = [
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, outside, 1),
        ]
        return nn.Sequential(*layers, *more).eval()


class Labels(nn.Module):
    """Answers with the number of the best class."""

    def __init__(self):
        super().__init__()
        self.net = net(3, 2)

    def forward(self, x):
        return self.net(x).argmax(1)


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return self.net(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class OneImage(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return self.net(x).view(1, 1, x.shape[2], x.shape[3])


class OneSize(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.place = net(), nn.Parameter(torch.zeros(1, 1, 64, 64))

    def forward(self, x):
        return self.net(x) + self.place


def gradient(model):
    """Gradient at the pixels of the summed logits."""
    points = IMAGES.clone().requires_grad_()
    return torch.autograd.grad(model(points).sum(), points)[0]


def luma(images=IMAGES):
    return (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
