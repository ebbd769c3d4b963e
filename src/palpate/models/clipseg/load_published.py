"""CLIPSeg in files of other projects: VLSM-Adapter's and MedVLSM's checkpoints, its authors' own.

They hold neither sizes nor tokenizer, and the authors' no towers. These come from a CLIPSeg in
Hugging Face's layout, the option ``base``.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from palpate.models.clip.config import ClipSegConfig
from palpate.models.clipseg import decoder_keys as decoder_names
from palpate.models.clipseg import vlsm_adapter_keys as study_names
from palpate.models.clipseg.adapters import adapter_state
from palpate.models.clipseg.load import OPTIONS, equipped, put_together
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
    """Whether a file holds a CLIPSeg as other projects save it."""
    return holds(place, study_names.MARKS) or holds(place, decoder_names.MARKS)


def load_published(request: Request) -> VLSM:
    """Load a CLIPSeg from a file of another project, with the adapters that are in it.

    Options are those of a CLIPSeg and ``base``: the CLIPSeg in Hugging Face's layout that the file
    belongs to, by default ``CIDAS/clipseg-rd64-refined``. Adapters in the file are of the published
    form; only they require gradient.

    Raises:
        FileNotFoundError: If the base model is not there.
        ValueError: If the weights do not fit it, or adapter or options make no sense.
    """
    request.check_options((*OPTIONS, "base"))
    base = find_model(request.options.get("base", BASE))
    if holds(request.folder, study_names.MARKS):
        return _load_study(request, base)
    return _load_authors(request, base)


def _load_study(request: Request, base: Path) -> VLSM:
    path = request.folder
    state = read_pickled(path, family="CLIPSeg", marks=study_names.MARKS)
    try:
        adapter, width = study_names.adapter_of(state)
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    if adapter is not None and request.adapter not in (None, adapter):
        raise ValueError(
            f"{path} brings its own adapter {adapter}, got {request.adapter}; leave adapter out."
        )
    config = ClipSegConfig.from_hf(read_json(base / "config.json"))
    clipseg, adapters = study_names.to_our_names(state, config)
    model = put_together(request, base, clipseg)
    if adapter is not None:
        request = replace(request, adapter=adapter, init="paper", width=width)
    model = equipped(model, request)
    if adapter is not None:
        _fill(model, adapters, path)
    model.base_hash = fingerprint(state)
    return model


def _load_authors(request: Request, base: Path) -> VLSM:
    path = request.folder
    state = read_pickled(path, family="CLIPSeg", marks=decoder_names.MARKS)
    towers = {k: v for k, v in read_weights(base).items() if not k.startswith("decoder.")}
    sizes = _sizes(state, path)
    model = put_together(request, base, towers | decoder_names.to_decoder_names(state), **sizes)
    return equipped(model, request)


def _sizes(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    try:
        return decoder_names.sizes_of_decoder(state)
    except KeyError as error:
        raise ValueError(f"The weights of {path} lack {error}, which a decoder has.") from None


def _fill(model: VLSM, adapters: Mapping[str, Tensor], path: Path) -> None:
    own = adapter_state(model.net)
    check_keys(own, adapters, str(path))
    check_shapes(own, adapters, str(path))
    model.net.load_state_dict(adapters, strict=False)
