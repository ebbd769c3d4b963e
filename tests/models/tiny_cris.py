"""A CRIS of some ten thousand parameters, drawn at random."""

import torch

from palpate.models.cris import CRIS, CrisConfig
from palpate.randomness import seeded

SIZES = {"decoder_heads": 4, "size": 64}  # which weights do not tell


def config(vocabulary=60, **changes):
    sizes = {
        "stages": (1, 2, 1, 1),
        "stem": 8,
        "pool_side": 3,
        "joint": 24,
        "text": 32,
        "text_layers": 2,
        "vocabulary": vocabulary,
        "context": 12,
        "neck": (16, 32, 48),
        "decoder_layers": 2,
        "decoder_hidden": 40,
    }
    return CrisConfig(**(sizes | SIZES | changes))


def network(configuration=None, seed=0):
    """In evaluation mode; with biases, gains and statistics that would show if left out."""
    with seeded(seed):
        net = CRIS(configuration or config()).eval()
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
            for name, buffer in net.named_buffers():
                if name.endswith("running_mean"):
                    buffer.normal_(0, 0.2)
                if name.endswith("running_var"):
                    buffer.uniform_(0.5, 2)
    return net


def heads(configuration):
    return {
        "text_heads": configuration.text_heads,
        "image_heads": configuration.image_heads,
        "decoder_heads": configuration.decoder_heads,
    }


def without_dropout(net):
    for part in net.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        elif hasattr(part, "dropout") and isinstance(part.dropout, float):
            part.dropout = 0.0
    return net
