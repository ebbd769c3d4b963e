"""PraNet as published, written anew as one function of a state dict.

Nothing is shared with what is tested: groups are cut by hand, normalisation is spelt out, and what
is brought to another size is so by PyTorch's modules, as in the original.
"""

import torch
from torch import nn
from torch.nn import functional as F

BRANCHES = {1: 3, 2: 5, 3: 7}


def logits(state, pixels, depths):
    """The four maps at the size of the input, in the original's order."""
    net = Reader(state)
    x2, x3, x4 = encoder(net, pixels, depths)
    fields = [receptive_field(net, f"rfb{n}_1", x) for n, x in ((4, x4), (3, x3), (2, x2))]
    coarse = decoder(net, *fields)
    four = reverse(net, 4, F.interpolate(coarse, scale_factor=0.25, mode="bilinear"), x4)
    three = reverse(net, 3, F.interpolate(four, scale_factor=2, mode="bilinear"), x3)
    two = reverse(net, 2, F.interpolate(three, scale_factor=2, mode="bilinear"), x2)
    sizes = ((coarse, 8), (four, 32), (three, 16), (two, 8))
    return [nn.Upsample(scale_factor=by, mode="bilinear")(each) for each, by in sizes]


class Reader:
    """Convolution and batch normalisation by name, in evaluation mode."""

    def __init__(self, state):
        self.state = state

    def norm(self, name, x):
        mean, var, gain, bias = (
            self.state[f"{name}.{part}"].view(1, -1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gain + bias

    def conv(self, name, x, **how):
        return F.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), **how)

    def basic(self, name, x, **how):
        return self.norm(f"{name}.bn", self.conv(f"{name}.conv", x, **how))


def encoder(net, pixels, depths):
    x = F.relu(net.norm("resnet.conv1.1", net.conv("resnet.conv1.0", pixels, stride=2, padding=1)))
    x = F.relu(net.norm("resnet.conv1.4", net.conv("resnet.conv1.3", x, padding=1)))
    x = F.relu(net.norm("resnet.bn1", net.conv("resnet.conv1.6", x, padding=1)))
    x = F.max_pool2d(x, 3, 2, 1)
    stages = []
    for stage, depth in enumerate(depths, 1):
        for index in range(depth):
            x = block(net, f"resnet.layer{stage}.{index}", x, 1 if stage == 1 or index else 2)
        stages.append(x)
    return stages[1:]


def block(net, name, x, stride):
    first = f"{name}.downsample.1.weight" in net.state
    out = F.relu(net.norm(f"{name}.bn1", net.conv(f"{name}.conv1", x)))
    width = out.shape[1] // 4
    whole, sp = None, 0
    for i in range(3):
        piece = out[:, i * width : (i + 1) * width]
        sp = piece if first else sp + piece
        sp = net.conv(f"{name}.convs.{i}", sp, stride=stride, padding=1)
        sp = F.relu(net.norm(f"{name}.bns.{i}", sp))
        whole = sp if whole is None else torch.cat((whole, sp), 1)
    rest = out[:, 3 * width :]
    rest = F.avg_pool2d(rest, 3, stride, 1) if first else rest
    out = net.norm(f"{name}.bn3", net.conv(f"{name}.conv3", torch.cat((whole, rest), 1)))
    if first:
        x = F.avg_pool2d(x, stride, stride, ceil_mode=True, count_include_pad=False)
        x = net.norm(f"{name}.downsample.2", net.conv(f"{name}.downsample.1", x))
    return F.relu(out + x)


def receptive_field(net, name, x):
    found = [net.basic(f"{name}.branch0.0", x)]
    for branch, reach in BRANCHES.items():
        y = net.basic(f"{name}.branch{branch}.0", x)
        y = net.basic(f"{name}.branch{branch}.1", y, padding=(0, reach // 2))
        y = net.basic(f"{name}.branch{branch}.2", y, padding=(reach // 2, 0))
        found.append(net.basic(f"{name}.branch{branch}.3", y, padding=reach, dilation=reach))
    joined = net.basic(f"{name}.conv_cat", torch.cat(found, 1), padding=1)
    return F.relu(joined + net.basic(f"{name}.conv_res", x))


def decoder(net, x1, x2, x3):
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    def conv(name, x):
        return net.basic(f"agg1.{name}", x, padding=1)

    x2_1 = conv("conv_upsample1", up(x1)) * x2
    x3_1 = conv("conv_upsample2", up(up(x1))) * conv("conv_upsample3", up(x2)) * x3
    x2_2 = conv("conv_concat2", torch.cat((x2_1, conv("conv_upsample4", up(x1))), 1))
    x3_2 = conv("conv_concat3", torch.cat((x3_1, conv("conv_upsample5", up(x2_2))), 1))
    return net.conv("agg1.conv5", conv("conv4", x3_2))


def reverse(net, stage, before, x):
    x = (-1 * torch.sigmoid(before) + 1).expand(-1, x.shape[1], -1, -1).mul(x)
    x = net.basic(f"ra{stage}_conv1", x)
    for number, padding in ((2, 2), (3, 2), (4, 2)) if stage == 4 else ((2, 1), (3, 1)):
        x = F.relu(net.basic(f"ra{stage}_conv{number}", x, padding=padding))
    last, padding = (5, 0) if stage == 4 else (4, 1)
    return net.basic(f"ra{stage}_conv{last}", x, padding=padding) + before
