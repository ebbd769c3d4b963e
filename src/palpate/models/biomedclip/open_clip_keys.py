"""Read BiomedCLIP from open_clip's checkpoint and rename its tensors."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from palpate.models.biomedclip.bert_keys import config_of_bert, rename_bert
from palpate.models.biomedclip.timm_keys import config_of_tower, rename_vit
from palpate.models.clip.config import ClipSegConfig
from palpate.models.files.safe_pickle import read_pickled
from palpate.models.files.weights import check_keys, read_json

WEIGHTS, CONFIG = "open_clip_pytorch_model.bin", "open_clip_config.json"
# Configuration values that identify BiomedCLIP, under open_clip's names before and since version
# 2.23.
_KINDS = {
    "pooler": (("hf_pooler_type", "pooler_type"), "cls_last_hidden_state_pooler"),
    "projection": (("hf_proj_type", "proj"), "mlp"),
}
_UNUSED = ("text.transformer.pooler.", "text.transformer.embeddings.position_ids")


def read_biomedclip(
    folder: Path, state: Mapping[str, Tensor] | None = None
) -> tuple[ClipSegConfig, dict[str, Tensor], dict[str, Any]]:
    """Read the image and text encoder of a BiomedCLIP.

    Args:
        folder: Folder in open_clip's layout.
        state: Weights under open_clip's names to use instead of those in the folder.

    Returns:
        The configuration, the weights under palpate's names, and the content of
        ``open_clip_config.json``.

    Raises:
        FileNotFoundError: If weights or configuration are missing.
        ValueError: If it is not a BiomedCLIP, or tensors are missing or unexpected.
    """
    values = read_json(folder / CONFIG)
    context = _check(values.get("model_cfg") or {}, folder)
    if state is None:
        marks = ("visual.trunk.", "text.transformer.")
        state = read_pickled(_weights(folder), family="BiomedCLIP", marks=marks)
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
            decoder_layer_norm_eps=1e-5,  # as in CLIPSeg, where the decoder comes from
            extract_layers=tuple(t for t in (3, 6, 9) if t < vision.num_hidden_layers) or (0,),
        )
        ours = _renamed(state, config)
    except KeyError as error:
        raise ValueError(f"The weights of {folder} lack {error}, which a BiomedCLIP has.") from None
    return config, ours, values


def _renamed(state: Mapping[str, Tensor], config: ClipSegConfig) -> dict[str, Tensor]:
    """Rename all tensors to palpate's names.

    Raises:
        KeyError: If a tensor is missing.
        ValueError: If there is an unexpected tensor.
    """
    rest = dict(state)
    ours = {
        "clip.visual_projection.weight": rest.pop("visual.head.proj.weight"),
        "clip.text_projection.0.weight": rest.pop("text.proj.0.weight"),
        "clip.text_projection.2.weight": rest.pop("text.proj.2.weight"),
        "clip.logit_scale": rest.pop("logit_scale"),
    }
    ours |= rename_vit(rest, config.vision)
    ours |= rename_bert(rest, config.text.num_hidden_layers)
    check_keys((), rest, "this BiomedCLIP")
    return ours


def _check(model: Mapping[str, Any], folder: Path) -> int:
    """Check that a configuration is that of a BiomedCLIP, and return its context length."""
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
    """Find the file of weights; safetensors are preferred."""
    places = [folder / "open_clip_model.safetensors", folder / WEIGHTS]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{folder} has no {WEIGHTS}; fetch it beside {CONFIG}.")
    return found
