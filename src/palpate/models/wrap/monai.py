"""Networks of MONAI with random weights (``monai/...``)."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from palpate.errors import did_you_mean
from palpate.models.preprocessing import of_photographs
from palpate.models.request import Request
from palpate.models.wrap.calling import Calling
from palpate.models.wrap.outputs import Reading
from palpate.models.wrap.wrap import Wrapped
from palpate.randomness import seeded


@dataclass(frozen=True)
class Plain:
    """A network of MONAI.

    Attributes:
        kind: Name of its class in ``monai.networks.nets``.
        multiple: The sides of its input must be multiples of this, in pixels.
        defaults: Default arguments of the class, which options may override.
    """

    kind: str
    multiple: int
    defaults: Mapping[str, Any] = field(default_factory=dict)


_LEVELS = {"channels": (32, 64, 128, 256, 512), "strides": (2, 2, 2, 2)}

NETWORKS: dict[str, Plain] = {
    # Five levels with two residual units each.
    "monai/unet": Plain("UNet", 16, {**_LEVELS, "num_res_units": 2}),
    "monai/attention-unet": Plain("AttentionUnet", 16, _LEVELS),
    "monai/segresnet": Plain(
        "SegResNet", 8, {"init_filters": 32, "blocks_down": (1, 2, 2, 4), "blocks_up": (1, 1, 1)}
    ),
    "monai/swin-unetr": Plain("SwinUNETR", 32, {"feature_size": 24}),
    # The encoder has random weights too, unless options say pretrained: true.
    "monai/flexible-unet": Plain(
        "FlexibleUNet", 32, {"backbone": "efficientnet-b0", "pretrained": False}
    ),
}


def load_plain(request: Request) -> Wrapped:
    """Create a network with random weights.

    Options are ``input_size`` (side of the square input in pixels; by default images keep their
    size, rounded up to the next multiple) and the arguments of the MONAI class, such as
    ``in_channels`` (3, or 1 for grey images).

    Raises:
        ValueError: If an option is unknown, or MONAI does not accept the arguments.
    """
    request.refuse_adapter()
    request.refuse_tokenizer()
    plain, options = NETWORKS[request.name], dict(request.options)
    calling = Calling(options.get("in_channels", 3))
    size = of_photographs(options.pop("input_size", None), calling.channels)
    with seeded(request.seed):
        net = _make(request.name, plain, options)
    return Wrapped(
        net.requires_grad_(False),
        Reading(),
        size,
        calling=calling,
        multiple=_multiple(plain, options),
        name=request.name,
        options=request.options,
        seed=request.seed,
        fresh=True,
        licence="yours (MONAI itself: Apache-2.0)",
        origin="drawn at random; train it",
    )


def _make(name: str, plain: Plain, options: Mapping[str, Any]) -> nn.Module:
    from monai.networks import nets  # takes seconds to import

    kind: Callable[..., nn.Module] = getattr(nets, plain.kind)
    known = [each for each in inspect.signature(kind).parameters if each not in _fixed(kind)]
    for option in options:
        if option not in known:
            raise ValueError(
                f"{name} has no option {option!r}; expected some of "
                f"{', '.join(['input_size', *known])}.{did_you_mean(option, known)}"
            )
    try:
        return kind(**_fixed(kind), **{"in_channels": 3, **plain.defaults, **_tuples(options)})
    except (ValueError, TypeError, AssertionError) as error:
        raise ValueError(f"{name} cannot be made with {dict(options)}: {error}") from error


def _fixed(kind: Callable[..., nn.Module]) -> dict[str, Any]:
    """Arguments that options cannot override: two axes, one logit per pixel as output."""
    given = {"spatial_dims": 2, "out_channels": 1}
    if "img_size" in inspect.signature(kind).parameters:  # required by SwinUNETR before MONAI 1.5
        given["img_size"] = (224, 224)  # type: ignore[assignment]
    return given


def _multiple(plain: Plain, options: Mapping[str, Any]) -> int:
    """Required multiple of the input's sides in pixels, which grows with the number of levels."""
    if "strides" in options:
        return int(torch.tensor(options["strides"]).prod())
    if "blocks_down" in options:
        return int(2 ** (len(options["blocks_down"]) - 1))
    return plain.multiple


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert lists to tuples: MONAI expects tuples, and YAML has only lists."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
