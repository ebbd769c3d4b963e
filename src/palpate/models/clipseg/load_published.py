"""Load CLIPSeg weights published by VLSM-Adapter, MedVLSM or CLIPSeg's authors.

These files contain neither configuration nor tokenizer, and those of CLIPSeg's authors no encoders
either. What is missing comes from a CLIPSeg in Hugging Face's layout, the option ``base``.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from palpate.models.clip.config import ClipSegConfig
from palpate.models.clipseg import authors_options, decoder_keys, vlsm_adapter_keys
from palpate.models.clipseg.adapters import adapter_state
from palpate.models.clipseg.load import OPTIONS, equip, make_vlsm
from palpate.models.clipseg.model import VLSM
from palpate.models.files.safe_pickle import holds, read_pickled
from palpate.models.files.weights import (
    check_keys,
    check_shapes,
    find_model,
    fingerprint,
    read_json,
    read_weights,
)
from palpate.models.request import Request

BASE = "CIDAS/clipseg-rd64-refined"


def is_published(place: Path) -> bool:
    """Whether a file contains CLIPSeg weights saved by one of these projects."""
    return holds(place, vlsm_adapter_keys.MARKS) or holds(place, decoder_keys.MARKS)


def load_published(request: Request) -> VLSM:
    """Load a CLIPSeg, with adapters if it has any, from a file of another project.

    Options are those of a CLIPSeg (see :func:`palpate.models.clipseg.load.equip`) and ``base``: the
    CLIPSeg in Hugging Face's layout that the file belongs to, by default
    ``CIDAS/clipseg-rd64-refined``. Decoders of CLIPSeg's authors also take the hyper-parameters
    that their file does not contain, see :mod:`palpate.models.clipseg.authors_options`. Adapters in
    the file have the published form. Only adapters require gradient.

    Raises:
        FileNotFoundError: If the base model is missing.
        ValueError: If the weights do not fit the base model, or adapter or options are not valid.
    """
    of_authors = holds(request.folder, decoder_keys.MARKS)
    extra = authors_options.OPTIONS if of_authors else ()
    request.check_options((*OPTIONS, "base", *extra))
    base = find_model(request.options.get("base", BASE))
    if holds(request.folder, vlsm_adapter_keys.MARKS):
        return _load_vlsm_adapter(request, base)
    return _load_decoder(request, base)


def _load_vlsm_adapter(request: Request, base: Path) -> VLSM:
    path = request.folder
    state = read_pickled(path, family="CLIPSeg", marks=vlsm_adapter_keys.MARKS)
    try:
        adapter, width = vlsm_adapter_keys.adapter_of(state)
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    if adapter is not None and request.adapter not in (None, adapter):
        raise ValueError(
            f"{path} brings its own adapter {adapter}, got {request.adapter}; leave adapter out."
        )
    config = ClipSegConfig.from_hf(read_json(base / "config.json"))
    clipseg, adapters = vlsm_adapter_keys.rename(state, config)
    model = make_vlsm(request, base, clipseg)
    if adapter is not None:
        request = replace(request, adapter=adapter, init="paper", width=width)
    model = equip(model, request)
    if adapter is not None:
        _fill(model, adapters, path)
    model.base_hash = fingerprint(state)
    return model


def _load_decoder(request: Request, base: Path) -> VLSM:
    path = request.folder
    state = read_pickled(path, family="CLIPSeg", marks=decoder_keys.MARKS)
    depth = len({name.split(".")[1] for name in state if name.startswith("reduces.")})
    trained = authors_options.config_of(path, request.options, depth)
    told = read_json(base / "config.json")
    trained["palpate"] = (told.get("palpate") or {}) | trained.get("palpate", {})
    layers = list(ClipSegConfig.from_hf(told).extract_layers)
    authors_options.check_depth(depth, trained.get("extract_layers", layers), path)
    towers = {k: v for k, v in read_weights(base).items() if not k.startswith("decoder.")}
    sizes = _sizes(state, path)
    model = make_vlsm(request, base, towers | decoder_keys.rename(state), **sizes, **trained)
    return equip(model, request)


def _sizes(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    try:
        return decoder_keys.sizes_of_decoder(state)
    except KeyError as error:
        raise ValueError(f"The weights of {path} lack {error}, which a decoder has.") from None


def _fill(model: VLSM, adapters: Mapping[str, Tensor], path: Path) -> None:
    own = adapter_state(model.net)
    check_keys(own, adapters, str(path))
    check_shapes(own, adapters, str(path))
    model.net.load_state_dict(adapters, strict=False)
