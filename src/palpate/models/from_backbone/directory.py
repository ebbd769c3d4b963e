"""A model directory: weights, configuration and tokenizer, as ``load_model`` reads them."""

import json
import shutil
from pathlib import Path
from typing import Any

from palpate.models.clip.tokenizer import FILES
from palpate.models.clipseg.model import VLSM
from palpate.models.files.weights import read_weights, write_text, write_weights


def write_model(model: VLSM, like: Path, out: Path, training: dict[str, Any]) -> None:
    """Write a model without adapters.

    Args:
        model: Gives the weights.
        like: Model directory of the same configuration and tokenizer.
        out: Made if missing; files of the same name are replaced.
        training: How the weights came about, for ``training.json``.
    """
    copy_description(like, out)
    write_text(json.dumps(training, indent=2) + "\n", out / "training.json")
    write_weights(model.net.state_dict(), out / "model.safetensors")


def write_half(model: Path, out: Path) -> Path:
    """Write a model directory in half precision: half the bytes, read back as float32.

    Args:
        model: Directory to copy.
        out: Made if missing; files of the same name are replaced.

    Returns:
        ``out``.

    Raises:
        ValueError: If a weight is too large for half precision.
    """
    state = {k: v.half() if v.is_floating_point() else v for k, v in read_weights(model).items()}
    wrong = [name for name, value in state.items() if not value.isfinite().all()]
    if wrong:
        raise ValueError(f"Expected weights below 65504, got larger ones in {', '.join(wrong)}.")
    copy_description(model, out)
    write_weights(state, out / "model.safetensors")
    return out


def copy_description(like: Path, out: Path) -> None:
    """Copy what a model directory has besides weights: configuration and tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "preprocessor_config.json", *FILES):
        if (like / name).is_file():
            shutil.copyfile(like / name, out / name)
