"""Planted fakes against the checks of the card, and honest models, which pass all of them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from palpate.attacks import bpda
from palpate.attacks.bpda.stages import BitDepth
from palpate.data.sample import Case, Sample
from palpate.evaluation.sanity import card_from_model

from .blobs import BlobFinder, blobs
from .planted import FAKES, FromMemory


def examine(model, samples, epsilon=48 / 255, steps=8):
    card = card_from_model(model, samples, epsilon=epsilon, steps=steps)
    return {check.number: check for check in card}


@pytest.mark.parametrize("fake", FAKES)
def test_every_fake_fails_the_check_that_is_meant_for_it(fake):
    make, number = FAKES[fake]
    assert examine(make(), blobs(4))[number].status == "fail"


@pytest.mark.parametrize("fake", ["rounds to 8 levels, straight-through", "answers from memory"])
def test_no_other_check_sees_what_a_fake_for_a_new_one_hides(fake):
    make, number = FAKES[fake]
    card = examine(make(), blobs(4), epsilon=32 / 255)
    assert [each.number for each in card.values() if each.status == "fail"] == [number]


def test_a_declared_substitute_gradient_is_mentioned_and_no_failure():
    class AsImages(nn.Module):
        def forward(self, images, prompts):
            return BlobFinder()(images, prompts)

    card = examine(bpda(BitDepth(3), AsImages()), blobs(2))
    assert card[18].status == "warn"


def test_a_model_that_knows_none_of_the_images_is_as_robust_elsewhere():
    strangers = 1 - torch.stack([sample.image for sample in blobs(2)])
    assert examine(FromMemory(strangers), blobs(2))[20].status == "pass"


SIDE = 32


def disc(index: int) -> Sample:
    """A reddish disc anywhere on a patchy ground."""
    random = torch.Generator().manual_seed(index)
    x, y, radius = SIDE * (torch.rand(3, generator=random) * torch.tensor([0.4, 0.4, 0.13]) + 0.3)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    mask = ((columns - x) ** 2 + (rows - y) ** 2 < (radius / 2 + 2) ** 2)[None]
    ground = F.interpolate(torch.rand(1, 3, 4, 4, generator=random), SIDE, mode="bilinear")[0]
    colour = torch.tensor([0.3, 0.15, 0.05]).view(3, 1, 1)
    image = 0.3 + 0.3 * ground + colour * mask
    image += 0.03 * torch.randn(3, SIDE, SIDE, generator=random)
    case = Case(f"k{index}", "discs", "test", f"{index}.png", "disc", f"p{index}", "a disc", "p1")
    return Sample(case, (image.clamp(0, 1) * 255).round() / 255, mask)


def three_layers() -> nn.Module:
    parts = [nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU()]
    return nn.Sequential(*parts, nn.Conv2d(8, 1, 5, padding=2))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.low = self._block(3, 8), self._block(8, 16)
        self.up, self.last = self._block(24, 8), nn.Conv2d(8, 1, 1)

    @staticmethod
    def _block(before, after):
        return nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(2, after), nn.ReLU()
        )

    def forward(self, images):
        high = self.down(images)
        low = F.interpolate(self.low(F.max_pool2d(high, 2)), scale_factor=2, mode="bilinear")
        return self.last(self.up(torch.cat([high, low], 1)))


class Attention(nn.Module):
    def __init__(self, patch=4, width=32):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.places = nn.Parameter(0.1 * torch.randn(1, (SIDE // patch) ** 2, width))
        self.layer = nn.TransformerEncoderLayer(width, 4, 64, 0.0, F.gelu, batch_first=True)
        self.last = nn.Sequential(nn.Conv2d(width, patch**2, 1), nn.PixelShuffle(patch))

    def forward(self, images):
        tokens = self.patches(images)
        mixed = self.layer(tokens.flatten(2).mT + self.places)
        return self.last(mixed.mT.reshape(tokens.shape))


class Honest(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, prompts):
        del prompts
        return self.network(4 * (images - 0.5))


def trained(make, steps=100) -> Honest:
    torch.manual_seed(0)
    samples = [disc(index) for index in range(100, 148)]
    images, masks = (
        torch.stack(part) for part in zip(*((s.image, s.mask) for s in samples), strict=True)
    )
    model = Honest(make())
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(steps):
        chosen = torch.randint(len(images), (16,))
        logits = model(images[chosen], ())
        loss = F.binary_cross_entropy_with_logits(logits, masks[chosen].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@pytest.mark.slow
@pytest.mark.parametrize("make", [three_layers, UNet, Attention])
def test_an_honest_model_passes_every_check(make):
    card = examine(trained(make), [disc(index) for index in range(6)], epsilon=16 / 255, steps=20)
    assert {each.number: each.measured for each in card.values() if each.status != "pass"} == {}
