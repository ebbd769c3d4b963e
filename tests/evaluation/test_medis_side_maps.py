"""MedIS as published on a network of several maps: its losses go by all of them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from palpate import wrap
from palpate.attacks.losses import NOTEBOOK
from palpate.attacks.medis.success_rules import success_rules
from palpate.data import load_data
from palpate.structure_loss import edge_weights, weighted_iou_loss

from .test_medis_lines import lines_of


class Three(nn.Module):
    """Three maps that look at different channels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3).view(3, 3, 1, 1) * 6 - 1)
            self.conv.bias.fill_(-1.0)

    def forward(self, pixels):
        return tuple(self.conv(pixels).split(1, dim=1))


@pytest.fixture
def model():
    return wrap(Three(), answer=-1, sides=True)


@pytest.fixture
def images():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def masks():
    return torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1)) > 0.7


def stretched(each):
    found = each.sigmoid()
    return (found - found.min()) / (found.max() - found.min() + 1e-8)


def test_the_overall_map_is_the_mean_of_the_stretched_ones(model, images, masks):
    maps = model.side_maps(images)
    for i in range(2):
        overall = torch.stack([stretched(each) for each in maps[i]]).mean(0)
        truth = masks[i, 0].float()
        score = 2 * (overall * truth).sum() / (overall + truth).sum()
        wanted = F.binary_cross_entropy(overall, truth) + 1 - score
        torch.testing.assert_close(NOTEBOOK["notebook_bce_dice"](maps, masks)[i], wanted)
        found = (overall > 0.5) == masks[i, 0]
        inside, outside = masks[i, 0], ~masks[i, 0]
        foreground = (found & inside).sum() / (~found | inside).sum()
        background = (found & outside).sum() / (~found | outside).sum()
        wanted = ((foreground + background) / 2).double().round(decimals=3)
        judged = success_rules(targeted=False, epsilon=0.1, faithful=True)
        torch.testing.assert_close(judged.score(maps, masks)[i], wanted, atol=1e-3, rtol=0)


def test_the_structure_loss_is_summed_over_the_maps(model, images, masks):
    maps, truth = model.side_maps(images), masks.float()
    wanted = torch.zeros(2)
    for i in range(2):
        for each in maps[i]:
            p, t = stretched(each)[None, None], truth[i : i + 1]
            entropy = F.binary_cross_entropy_with_logits(p, t)
            wanted[i] += entropy + weighted_iou_loss(p.sigmoid(), t, edge_weights(t, p))[0]
    torch.testing.assert_close(NOTEBOOK["notebook_structure"](maps, masks), wanted)


def test_a_faithful_evaluation_attacks_all_maps_and_another_the_answer(model):
    data = load_data("phantom-endoscopy", split="test", size=32, limit=2)
    seen = []
    plain = model.side_maps

    def noted(*arguments, **options):
        seen.append(True)
        return plain(*arguments, **options)

    model.side_maps = noted
    options = {"targets": ["untargeted"], "losses": ["structure", "bce_dice"], "steps": 2}
    lines = lines_of(model, data, faithful=True, **options)
    assert len(lines) == 4
    assert seen
    seen.clear()
    lines_of(model, data, **options)
    assert not seen
