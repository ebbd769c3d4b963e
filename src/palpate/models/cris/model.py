"""CRIS as a palpate model, and its loading."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from palpate.models.clip.config import LEGACY_END, TextConfig
from palpate.models.clip.tokenizer import Tokenizer
from palpate.models.cris.checkpoint import MARKS, check_state, read_cris
from palpate.models.cris.config import FAMILY, NOT_IN_WEIGHTS, CrisConfig
from palpate.models.cris.network import CRIS, PADDING
from palpate.models.files.safe_pickle import holds
from palpate.models.files.weights import fingerprint, read_json, read_weights
from palpate.models.pixel_model import Learns
from palpate.models.preprocessing import OPENAI_MEAN, OPENAI_STD, Preprocessing
from palpate.models.request import Request
from palpate.models.text_prompted import TextPrompted

_ENCODERS = "backbone."


class CrisModel(TextPrompted):
    """CRIS with its preprocessing, see :class:`palpate.models.text_prompted.TextPrompted`."""

    net: CRIS
    tower = "backbone.visual."

    options: Mapping[str, Any] = {}

    @property
    def set_up(self) -> Mapping[str, Any]:
        """Options that the model was loaded with, for a checkpoint's card."""
        return {"options": dict(self.options)} if self.options else {}

    def learners(self, what: Learns) -> list[nn.Parameter]:
        """All parameters, or those outside CLIP's encoders: neck, decoder and projector."""
        if what == "adapters":
            raise ValueError(
                f"{self.name} is a CRIS and has no places for adapters; let the decoder or all of "
                "it learn."
            )
        frozen = () if what == "all" else (_ENCODERS,)
        return [p for name, p in self.net.named_parameters() if not name.startswith(frozen)]


def load_cris(request: Request) -> CrisModel:
    """Load a CRIS from a folder of ``convert_cris`` or ``build_cris``, or from a checkpoint file.

    Options are the fields that cannot be inferred from weights: ``size``, ``threshold``,
    ``dropout``, ``decoder_heads`` and ``compat``, see
    :class:`palpate.models.cris.config.CrisConfig`.

    Raises:
        FileNotFoundError: If the weights are missing.
        ValueError: If the weights do not fit, an adapter is requested, or options are not valid.
    """
    request.refuse_adapter()
    request.check_options(NOT_IN_WEIGHTS)
    place = request.folder
    config, state = (_read_folder if place.is_dir() else read_cris)(place, **request.options)
    with torch.device("meta"):  # the weights come from the file
        net = CRIS(config)
    net.load_state_dict(state, assign=True)
    net.requires_grad_(False)
    model = CrisModel(
        net,
        _tokenizer(request, config),
        Preprocessing(size=config.size, mean=OPENAI_MEAN, std=OPENAI_STD),
        threshold=config.threshold,
        name=request.name,
        base_hash=fingerprint(state),
        origin=request.name,
    )
    model.options = dict(request.options)
    return model


def is_cris(place: Path) -> bool:
    """Whether a folder or file is a CRIS, judged by its configuration or its tensor names."""
    if place.is_dir():
        config = place / "config.json"
        return config.is_file() and read_json(config).get("model_type") == FAMILY
    return holds(place, MARKS)


def _read_folder(folder: Path, **changes: Any) -> tuple[CrisConfig, dict[str, Tensor]]:
    config = replace(CrisConfig.from_json(read_json(folder / "config.json")), **changes)
    state = read_weights(folder)
    check_state(config, state, folder)
    return config, state


def _tokenizer(request: Request, config: CrisConfig) -> Tokenizer:
    texts = TextConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.text,
        max_position_embeddings=config.context,
        eos_token_id=LEGACY_END,  # the end token is the token with the largest id
    )
    place = request.folder
    beside = place if place.is_dir() else place.parent
    folder = request.tokenizer or beside
    if config.compat == "medvlsm":
        return Tokenizer(folder, texts, full=True)
    return Tokenizer(folder, texts, padding=PADDING)
