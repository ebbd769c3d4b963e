"""BiomedCLIP in the shape of CLIPSeg, from the checkpoint that open_clip reads.

BiomedCLIP (Zhang et al., 2023, https://arxiv.org/abs/2303.00915) is timm's ViT-B/16 and PubMedBERT,
both projected to 512. MedVLSM (Poudel et al., 2024, https://arxiv.org/abs/2308.07706) puts the
decoder of CLIPSeg on it, random or pretrained. The image tower differs from CLIP's in three things
that go into our names: query, key and value come in one matrix (split), the patches have a bias
(into the position embedding), and no layer norm comes before the first block (the identity).
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from torch import Tensor

from palpate.models.bert_names import config_of_bert, to_bert_names
from palpate.models.clipseg import CLIPSeg
from palpate.models.config import ClipSegConfig
from palpate.models.pickled import read_pickled
from palpate.models.preprocessing import OPENAI_MEAN, OPENAI_STD
from palpate.models.timm_names import config_of_tower, to_tower_names
from palpate.models.tokenizer import FILES, WORDPIECE, has_wordpiece
from palpate.models.weights import (
    check_keys,
    check_shapes,
    find_model,
    read_json,
    read_weights,
    write_text,
    write_weights,
)
from palpate.randomness import seeded

Compat: TypeAlias = Literal["medvlsm"] | None

WEIGHTS, CONFIG = "open_clip_pytorch_model.bin", "open_clip_config.json"
# What open_clip calls the kinds that BiomedCLIP is made of, before and since its version 2.23.
_KINDS = {
    "pooler": (("hf_pooler_type", "pooler_type"), "cls_last_hidden_state_pooler"),
    "projection": (("hf_proj_type", "proj"), "mlp"),
}
_UNUSED = ("text.transformer.pooler.", "text.transformer.embeddings.position_ids")


@dataclass(frozen=True)
class DecoderParts:
    """Which decoder goes onto BiomedCLIP.

    Attributes:
        pretrained: A CLIPSeg in Hugging Face's layout, whose decoder is taken; None for a random
            one, of the sizes of CLIPSeg's refined decoder.
        compat: ``"medvlsm"``: the decoder reads blocks 4, 7 and 10, as the published code does,
            where CLIPSeg's reads 3, 6 and 9 (0 is the first).
        seed: Of the random decoder.
    """

    pretrained: str | Path | None = None
    compat: Compat = None
    seed: int = 0


def build_from_biomedclip(
    source: str | Path,
    out: Path,
    *,
    decoder: DecoderParts | None = None,
    tokenizer: Path | None = None,
) -> Path:
    """Write a CLIPSeg with BiomedCLIP's towers.

    Args:
        source: Folder with ``open_clip_pytorch_model.bin`` and ``open_clip_config.json``.
        out: Folder to write; it loads with ``load_model``.
        decoder: Which; by default a random one.
        tokenizer: Folder with ``vocab.txt`` or ``tokenizer.json``, if the source has none.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: If weights, configuration or tokenizer are not there.
        ValueError: If it is no BiomedCLIP, or tensors are missing or unexpected.
    """
    folder, decoder = Path(source), decoder or DecoderParts()
    texts = tokenizer or folder
    if not has_wordpiece(texts):
        raise FileNotFoundError(f"{texts} has neither {' nor '.join(WORDPIECE)}; pass tokenizer=.")
    config, state, processor = assembled(folder, decoder)
    _write(out, config, state, processor, texts)
    return out


def assembled(
    folder: Path, decoder: DecoderParts
) -> tuple[ClipSegConfig, dict[str, Tensor], dict[str, Any]]:
    """Sizes and weights of the whole model, and what its image processor does.

    Raises:
        FileNotFoundError, ValueError: As :func:`build_from_biomedclip`.
    """
    config, state, values = read_biomedclip(folder)
    config = _with_decoder(config, decoder)
    with seeded(decoder.seed):
        fresh = CLIPSeg(config).state_dict()
    parts = _pretrained(decoder.pretrained) if decoder.pretrained is not None else {}
    check_keys({k for k in fresh if k.startswith("clip.")}, state, str(folder))
    check_shapes(fresh, state | parts, str(folder))
    return config, fresh | state | parts, _processor(config, values.get("preprocess_cfg") or {})


def read_biomedclip(folder: Path) -> tuple[ClipSegConfig, dict[str, Tensor], dict[str, Any]]:
    """The sizes and weights of both towers under our names, and what the configuration says.

    Raises:
        FileNotFoundError: If weights or configuration are not there.
        ValueError: If it is no BiomedCLIP, or tensors are missing or unexpected.
    """
    values = read_json(folder / CONFIG)
    context = _check(values.get("model_cfg") or {}, folder)
    state = read_pickled(
        _weights(folder), family="BiomedCLIP", marks=("visual.trunk.", "text.transformer.")
    )
    state = {k: v for k, v in state.items() if not k.startswith(_UNUSED)}
    try:
        vision = config_of_tower(state)
        config = ClipSegConfig(
            vision=vision,
            text=replace(config_of_bert(state), context_length=context),
            projection_dim=len(state["visual.head.proj.weight"]),
            projection_hidden=len(state["text.proj.0.weight"]),
            use_complex_transposed_convolution=True,
            pre_layer_norm=False,
            decoder_layer_norm_eps=1e-5,  # CLIPSeg's, whose decoder it is
            extract_layers=tuple(t for t in (3, 6, 9) if t < vision.num_hidden_layers) or (0,),
        )
        ours = _renamed(state, config)
    except KeyError as error:
        raise ValueError(f"The weights of {folder} lack {error}, which a BiomedCLIP has.") from None
    return config, ours, values


def _renamed(state: Mapping[str, Tensor], config: ClipSegConfig) -> dict[str, Tensor]:
    """Every tensor under our name.

    Raises:
        KeyError: If one is missing.
        ValueError: If one is left over.
    """
    rest = dict(state)
    ours = {
        "clip.visual_projection.weight": rest.pop("visual.head.proj.weight"),
        "clip.text_projection.0.weight": rest.pop("text.proj.0.weight"),
        "clip.text_projection.2.weight": rest.pop("text.proj.2.weight"),
        "clip.logit_scale": rest.pop("logit_scale"),
    }
    ours |= to_tower_names(rest, config.vision)
    ours |= to_bert_names(rest, config.text.num_hidden_layers)
    check_keys((), rest, "this BiomedCLIP")
    return ours


def _check(model: Mapping[str, Any], folder: Path) -> int:
    """The length of a text, in tokens, if the configuration is that of a BiomedCLIP."""
    text, vision = model.get("text_cfg") or {}, model.get("vision_cfg") or {}
    for kind, (names, wanted) in _KINDS.items():
        given = next((text[name] for name in names if name in text), None)
        if given != wanted:
            raise ValueError(
                f"Expected a BiomedCLIP (text {kind} {wanted!r}) in {folder / CONFIG}, got "
                f"{given!r}."
            )
    name = str(vision.get("timm_model_name"))
    if not name.startswith("vit_"):
        raise ValueError(
            f"Expected timm's plain ViT as image tower in {folder / CONFIG}, got {name!r}."
        )
    return int(text.get("context_length", 256))


def _weights(folder: Path) -> Path:
    """The file of weights, as safetensors where there is one."""
    places = [folder / "open_clip_model.safetensors", folder / WEIGHTS]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{folder} has no {WEIGHTS}; fetch it beside {CONFIG}.")
    return found


def _with_decoder(config: ClipSegConfig, decoder: DecoderParts) -> ClipSegConfig:
    """The configuration with the sizes of the decoder that is taken, and what it shall read."""
    if decoder.compat not in (None, "medvlsm"):
        raise ValueError(f"Expected compat 'medvlsm' or None, got {decoder.compat!r}.")
    if decoder.pretrained is not None:
        place = find_model(decoder.pretrained)
        theirs = ClipSegConfig.from_hf(read_json(place / "config.json"))
        config = replace(
            config,
            extract_layers=theirs.extract_layers,
            reduce_dim=theirs.reduce_dim,
            conditional_layer=theirs.conditional_layer,
            use_complex_transposed_convolution=theirs.use_complex_transposed_convolution,
            decoder_num_attention_heads=theirs.decoder_num_attention_heads,
            decoder_intermediate_size=theirs.decoder_intermediate_size,
            decoder_layer_norm_eps=theirs.decoder_layer_norm_eps or theirs.vision.layer_norm_eps,
        )
    if decoder.compat == "medvlsm":
        config = replace(config, extract_layers=tuple(tap + 1 for tap in config.extract_layers))
    return config


def _pretrained(source: str | Path) -> dict[str, Tensor]:
    state = read_weights(find_model(source))
    return {k: v for k, v in state.items() if k.startswith("decoder.")}


def _processor(config: ClipSegConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    side = config.vision.image_size
    return {
        "size": {"height": side, "width": side},
        "image_mean": given.get("mean", OPENAI_MEAN),
        "image_std": given.get("std", OPENAI_STD),
    }


def _write(
    out: Path,
    config: ClipSegConfig,
    state: Mapping[str, Tensor],
    processor: Mapping[str, Any],
    texts: Path,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(processor, indent=2) + "\n", out / "preprocessor_config.json")
    for name in (*FILES, *WORDPIECE):
        if (texts / name).is_file() and texts.resolve() != out.resolve():
            shutil.copyfile(texts / name, out / name)
    write_weights(state, out / "model.safetensors")
    write_text(json.dumps(config.to_hf(), indent=2) + "\n", out / "config.json")
