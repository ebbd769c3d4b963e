"""Load BiomedCLIP in open_clip's layout with CLIPSeg's decoder."""

from pathlib import Path

import torch

from palpate.models.biomedclip.convert import (
    MARKS,
    DecoderParts,
    assemble,
    assemble_from_medvlsm,
)
from palpate.models.biomedclip.open_clip_keys import CONFIG
from palpate.models.clip.tokenizer import Tokenizer
from palpate.models.clipseg.clipseg import CLIPSeg
from palpate.models.clipseg.load import OPTIONS, equip
from palpate.models.clipseg.model import VLSM
from palpate.models.files.safe_pickle import holds
from palpate.models.files.weights import find_model, fingerprint
from palpate.models.preprocessing import (
    OPENAI_MEAN,
    OPENAI_STD,
    Preprocessing,
    channels_of,
)
from palpate.models.request import Request

BASE = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"

_DECODER = {"decoder": "pretrained", "compat": "compat"}


def load_biomedclip(request: Request) -> VLSM:
    """Load the encoders of BiomedCLIP and add a decoder, or load a checkpoint of MedVLSM.

    Options are those of a CLIPSeg (see :func:`palpate.models.clipseg.load.equip`) and:

    - For a BiomedCLIP folder: ``decoder``, a CLIPSeg whose decoder is used (by default the decoder
      is random), and ``compat``, see :class:`DecoderParts`.
    - For a checkpoint of MedVLSM: ``base``, the BiomedCLIP it was trained from (by default the
      published one).

    Raises:
        FileNotFoundError: If weights or configuration are missing.
        ValueError: If it is not a BiomedCLIP, its weights do not fit, or adapter or options are not
            valid.
    """
    folder, fresh = request.folder, False
    if folder.is_file():
        request.check_options((*OPTIONS, "base"))
        folder = find_model(request.options.get("base", BASE))
        config, state, processor = assemble_from_medvlsm(request.folder, folder)
    else:
        parts = _parts(request)
        fresh = parts.pretrained is None
        config, state, processor = assemble(folder, parts)
    with torch.device("meta"):  # allocate nothing: the weights come from ``state``
        net = CLIPSeg(config)
    net.load_state_dict(state, assign=True)
    net.requires_grad_(False)
    model = VLSM(
        net,
        Tokenizer(request.tokenizer or folder, config.text),
        Preprocessing(
            processor["size"]["height"],
            *channels_of(processor, folder, OPENAI_MEAN, OPENAI_STD),
        ),
        name=request.name,
        base_hash=fingerprint(state),
        licence="MIT",
        origin=request.name,
    )
    model.fresh = fresh
    return equip(model, request)


def is_biomedclip(place: Path) -> bool:
    """Whether this is the folder of an open_clip model or a BiomedCLIP checkpoint of MedVLSM."""
    return (place / CONFIG).is_file() or holds(place, MARKS)


def _parts(request: Request) -> DecoderParts:
    request.check_options((*OPTIONS, *_DECODER))
    given = {
        ours: request.options[name] for name, ours in _DECODER.items() if name in request.options
    }
    return DecoderParts(**given, seed=request.seed)
