"""Convert BiomedCLIP from open_clip's checkpoint to the layout of CLIPSeg.

BiomedCLIP (Zhang et al., 2023, https://arxiv.org/abs/2303.00915) consists of timm's ViT-B/16 and
PubMedBERT, both projected to 512 dimensions. As in MedVLSM (Poudel et al., 2024,
https://arxiv.org/abs/2308.07706), the decoder of CLIPSeg is added, random or pretrained. The image
encoder differs from CLIP's in three ways, which the conversion handles as follows:

- Query, key and value are projected by one matrix, which is split.
- The patch embedding has a bias, which is added to the position embeddings.
- There is no layer norm before the first block; it is replaced by the identity.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from palpate.atomic import write_text
from palpate.models.biomedclip.open_clip_keys import read_biomedclip
from palpate.models.clip.config import ClipSegConfig
from palpate.models.clip.tokenizer import FILES, WORDPIECE, has_wordpiece
from palpate.models.clipseg.clipseg import CLIPSeg
from palpate.models.files.safe_pickle import read_pickled
from palpate.models.files.weights import (
    check_keys,
    check_shapes,
    find_model,
    read_json,
    read_weights,
    write_weights,
)
from palpate.models.preprocessing import OPENAI_MEAN, OPENAI_STD
from palpate.randomness import seeded

Compat: TypeAlias = Literal["medvlsm"] | None

# Prefixes of tensor names in MedVLSM's checkpoints, which contain both BiomedCLIP and a decoder.
MARKS = ("biomedclip.visual.trunk.", "decoder.film_mul.")


@dataclass(frozen=True)
class DecoderParts:
    """The decoder that is added to BiomedCLIP.

    Attributes:
        pretrained: Hub name or folder of a CLIPSeg in Hugging Face's layout whose decoder is used;
            None for a random decoder with the sizes of CLIPSeg's refined decoder.
        compat: With ``"medvlsm"``, the decoder reads image blocks 4, 7 and 10 (0 is the first), as
            in MedVLSM's published code. By default it reads the same blocks as in CLIPSeg: 3, 6
            and 9.
        seed: Seed of the random decoder.
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
    """Write a CLIPSeg with the encoders of BiomedCLIP.

    Args:
        source: Folder with ``open_clip_pytorch_model.bin`` and ``open_clip_config.json``.
        out: Output folder, which can be loaded with ``load_model``.
        decoder: The decoder to add; by default a random one.
        tokenizer: Folder with ``vocab.txt`` or ``tokenizer.json``, if the source has none.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: If weights, configuration or tokenizer are missing.
        ValueError: If the source is not a BiomedCLIP, or tensors are missing or unexpected.
    """
    folder, decoder = Path(source), decoder or DecoderParts()
    texts = tokenizer or folder
    if not has_wordpiece(texts):
        raise FileNotFoundError(f"{texts} has neither {' nor '.join(WORDPIECE)}; pass tokenizer=.")
    config, state, processor = assemble(folder, decoder)
    _write(out, config, state, processor, texts)
    return out


def assemble(
    folder: Path, decoder: DecoderParts
) -> tuple[ClipSegConfig, dict[str, Tensor], dict[str, Any]]:
    """Combine BiomedCLIP and a decoder.

    Returns:
        Configuration, weights and image processor of the complete model.

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


def assemble_from_medvlsm(
    path: Path, folder: Path
) -> tuple[ClipSegConfig, dict[str, Tensor], dict[str, Any]]:
    """Like :func:`assemble`, but for a checkpoint of MedVLSM.

    The decoder of MedVLSM always reads blocks 4, 7 and 10, see :class:`DecoderParts`.

    Args:
        path: File of the checkpoint.
        folder: Folder of the BiomedCLIP it was trained from, for the configuration.

    Raises:
        FileNotFoundError, ValueError: As :func:`build_from_biomedclip`.
    """
    state = read_pickled(path, family="BiomedCLIP of MedVLSM", marks=MARKS)
    towers = {k.removeprefix("biomedclip."): v for k, v in state.items() if not _of_decoder(k)}
    decoder = {k: v for k, v in state.items() if _of_decoder(k)}
    config, ours, values = read_biomedclip(folder, towers)
    config = _with_decoder(replace(config, **_sizes(decoder)), DecoderParts(compat="medvlsm"))
    with torch.device("meta"):
        wanted = CLIPSeg(config).state_dict()
    check_keys(wanted, ours | decoder, str(path))
    check_shapes(wanted, ours | decoder, str(path))
    return config, ours | decoder, _processor(config, values.get("preprocess_cfg") or {})


def _with_decoder(config: ClipSegConfig, decoder: DecoderParts) -> ClipSegConfig:
    """Add the sizes of the decoder, and the blocks that it reads, to the configuration."""
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


def _of_decoder(name: str) -> bool:
    return name.startswith("decoder.")


def _sizes(decoder: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer the sizes of a decoder from its weights, as fields of the configuration."""
    hidden = decoder.get("decoder.layers.0.mlp.fc1.weight")
    return {
        "reduce_dim": len(decoder["decoder.film_mul.weight"]),
        "use_complex_transposed_convolution": "decoder.transposed_convolution.0.weight" in decoder,
        **({} if hidden is None else {"decoder_intermediate_size": len(hidden)}),
    }


def _pretrained(source: str | Path) -> dict[str, Tensor]:
    state = read_weights(find_model(source))
    return {k: v for k, v in state.items() if _of_decoder(k)}


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
    write_text(out / "preprocessor_config.json", json.dumps(processor, indent=2) + "\n")
    for name in (*FILES, *WORDPIECE):
        if (texts / name).is_file() and texts.resolve() != out.resolve():
            shutil.copyfile(texts / name, out / name)
    write_weights(state, out / "model.safetensors")
    write_text(out / "config.json", json.dumps(config.to_hf(), indent=2) + "\n")
