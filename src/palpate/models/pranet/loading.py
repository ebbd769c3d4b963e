"""Load a PraNet with random weights, or from a file of published weights."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palpate.errors import did_you_mean
from palpate.models.files.safe_pickle import holds, read_pickled
from palpate.models.files.weights import check_keys, check_shapes
from palpate.models.pranet.network import PraNet, PraNetSize
from palpate.models.preprocessing import Preprocessing
from palpate.models.request import Request
from palpate.models.wrap.outputs import Reading
from palpate.models.wrap.wrap import Wrapped
from palpate.randomness import seeded

_SIZES = tuple(field.name for field in fields(PraNetSize))
_MARKS = ("resnet.layer1.", "agg1.", "ra4_conv5.")
_ENCODER_MARKS = ("layer1.0.convs.",)
_MULTIPLE = 32  # the largest stride of the encoder, in pixels


def is_pranet(place: Path) -> bool:
    """Whether a file contains the weights of a PraNet."""
    return holds(place, _MARKS)


def load_pranet(request: Request) -> Wrapped:
    """Load a PraNet from a file, or create one with random weights.

    Options are ``input_size`` (side of the square input in pixels, by default 352), ``encoder`` (a
    file with published weights of the Res2Net, used to initialise the encoder) and the fields of
    :class:`PraNetSize`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If an option is unknown, or the weights do not fit.
    """
    request.refuse_adapter()
    request.refuse_tokenizer()
    options = dict(request.options)
    input_size, encoder = options.pop("input_size", 352), options.pop("encoder", None)
    net = _fresh(options, request.seed)
    if request.place is not None:
        _fill(net, read_pickled(request.place, family="PraNet", marks=_MARKS), request.place)
    elif encoder is not None:
        state = read_pickled(Path(encoder), family="Res2Net", marks=_ENCODER_MARKS)
        _fill(net.resnet, state, Path(encoder))
    return Wrapped(
        net.requires_grad_(False),
        Reading(answer=-1),
        Preprocessing(input_size),
        multiple=_MULTIPLE,
        sides=True,
        tower="resnet.",
        idle="resnet.fc.",
        name=request.name,
        options=request.portable_options("encoder"),
        seed=request.seed,
        fresh=request.place is None,
        licence="not stated by its authors" if request.place else "yours",
        origin=str(request.place) if request.place else "drawn at random; train it",
    )


def _fresh(options: Mapping[str, Any], seed: int) -> PraNet:
    for option in options:
        if option not in _SIZES:
            known = ("input_size", "encoder", *_SIZES)
            raise ValueError(
                f"PraNet has no option {option!r}; expected some of {', '.join(known)}."
                f"{did_you_mean(option, known)}"
            )
    if "depths" in options:
        options = {**options, "depths": tuple(options["depths"])}
    size = PraNetSize(**options)
    with seeded(seed):
        return PraNet(size)


def _fill(net: torch.nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    own = net.state_dict()
    # Files written before PyTorch 0.4.1 have no batch counters.
    counted = {name for name in own if name.endswith(".num_batches_tracked")}
    counted = counted if counted.isdisjoint(state) else set()
    check_keys(own.keys() - counted, state, str(path))
    check_shapes(own, state, str(path))
    net.load_state_dict(state, strict=not counted)
