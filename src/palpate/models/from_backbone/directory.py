"""Write model folders (weights, configuration and tokenizer) for ``load_model``."""

import json
import shutil
from pathlib import Path
from typing import Any

from palpate.atomic import write_text
from palpate.models.clip.tokenizer import FILES
from palpate.models.clipseg.model import VLSM
from palpate.models.files.weights import read_weights, write_weights


def write_model(model: VLSM, like: Path, out: Path, training: dict[str, Any]) -> None:
    """Write a model without adapters to a folder.

    Args:
        model: The model whose weights are written.
        like: Model folder from which configuration and tokenizer are copied.
        out: Output folder. It is created if missing; files of the same name are replaced.
        training: Settings and metrics of the training, stored in ``training.json``.
    """
    copy_description(like, out)
    write_text(out / "training.json", json.dumps(training, indent=2) + "\n")
    write_weights(model.net.state_dict(), out / "model.safetensors")


def write_half(model: Path, out: Path) -> Path:
    """Copy a model folder with weights in half precision; ``load_model`` converts them to float32.

    Args:
        model: Model folder to copy.
        out: Output folder. It is created if missing; files of the same name are replaced.

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
    """Copy the configuration and tokenizer of a model folder."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "preprocessor_config.json", *FILES):
        if (like / name).is_file():
            shutil.copyfile(like / name, out / name)
