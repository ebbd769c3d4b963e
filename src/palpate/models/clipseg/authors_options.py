"""Hyper-parameters of decoders by CLIPSeg's authors, which their weight files do not contain.

They are read from the ``config.json`` that the authors' training writes beside the weights, or
given as options. Loaded with others, the same weights give wrong logits without an error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palpate.models.files.weights import read_json

OPTIONS = ("extract_layers", "cond_layer", "n_heads", "rev_activations", "n_tokens")

# The published files; their hyper-parameters are those of the published CLIPSeg.
_RELEASED = ("rd64-uni", "rd64-uni-refined", "rd16-uni")
_FIELDS = {
    "extract_layers": "extract_layers",
    "cond_layer": "conditional_layer",
    "n_heads": "decoder_num_attention_heads",
}
_MODEL = "CLIPDensePredT"


def config_of(path: Path, options: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Fields of Hugging Face's configuration that a weight file was trained with.

    Args:
        path: The weight file.
        options: Options of the user, which take precedence over the configuration beside the file.
        depth: Number of decoder layers in the file.

    Returns:
        The fields that differ from those of the base model, as far as known.

    Raises:
        ValueError: If nothing tells the hyper-parameters, or one cannot be used.
    """
    told = _beside(path) | {name: options[name] for name in OPTIONS if name in options}
    if not told and path.stem not in _RELEASED:
        raise ValueError(
            f"{path} does not tell the layers and heads that it was trained with, and it is none "
            f"of the published {', '.join(_RELEASED)}. Put its config.json beside it, or give the "
            "options that it was trained with: extract_layers [3, 6, 9] (as published), "
            "cond_layer, n_heads, rev_activations."
        )
    if told.get("n_tokens") is not None:
        raise ValueError(
            f"Expected weights of CLIPSeg without n_tokens, got n_tokens {told['n_tokens']} for "
            f"{path}: its patches have another size than those of the image encoder."
        )
    found = {ours: told[theirs] for theirs, ours in _FIELDS.items() if theirs in told}
    if "extract_layers" in found:
        found["extract_layers"] = _layers(found["extract_layers"], depth, path)
    reverse = told.get("rev_activations", False)
    if not isinstance(reverse, bool):
        raise ValueError(f"Expected rev_activations to be true or false, got {reverse!r}.")
    return found | ({"palpate": {"rev_activations": True}} if reverse else {})


def check_depth(depth: int, layers: object, path: Path) -> None:
    """Raise a ValueError if a file has not one decoder layer per extracted layer."""
    count = len(layers) if isinstance(layers, list | tuple) else 0
    if count != depth:
        raise ValueError(
            f"{path} has {depth} decoder layers, and {count} layers of the image encoder are "
            f"extracted ({layers}). Give those that it was trained with as option extract_layers."
        )


def _layers(given: Any, depth: int, path: Path) -> list[int]:
    right = isinstance(given, list | tuple) and all(type(each) is int for each in given)
    if not right or list(given) != sorted({*given}) or min(given, default=0) < 1:
        # The authors' code extracts in ascending order, and layer 0 for another purpose.
        raise ValueError(
            "Expected extract_layers as ascending numbers from 1, such as [3, 6, 9], got "
            f"{given!r}."
        )
    check_depth(depth, given, path)
    return list(given)


def _beside(path: Path) -> dict[str, Any]:
    """Hyper-parameters in the configuration of the training that wrote the file."""
    config = path.with_name("config.json")
    values = read_json(config) if config.is_file() else {}
    if _MODEL not in str(values.get("model", "")):
        return {}
    return {"n_tokens": None} | {name: values[name] for name in OPTIONS if name in values}
