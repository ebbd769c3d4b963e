"""Read community checkpoints of CRIS, and convert them to model folders.

CRIS's authors published no weights. Community checkpoints are files written by their training
script: a dictionary with a ``state_dict`` whose names start with ``module.``, or only the state
dict, with or without that prefix.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palpate.atomic import write_text
from palpate.models.clip.tokenizer import FILES, has_tokenizer
from palpate.models.cris.config import CrisConfig, config_of
from palpate.models.cris.network import CRIS
from palpate.models.files.safe_pickle import read_pickled
from palpate.models.files.weights import check_keys, check_shapes, write_weights
from palpate.models.preprocessing import OPENAI_MEAN, OPENAI_STD
from palpate.randomness import seeded

# Prefixes of tensor names that identify a CRIS.
MARKS = ("backbone.visual.attnpool.", "neck.", "proj.")
# Buffers that PyTorch before 0.4.1 did not save.
_COUNTER = ".num_batches_tracked"


def read_cris(path: Path, **changes: Any) -> tuple[CrisConfig, dict[str, Tensor]]:
    """Read and check the weights of a checkpoint (float32), and infer its configuration.

    Args:
        path: A ``.pth`` or ``.pt`` file written by ``torch.save``, or a ``.safetensors`` file.
        changes: Fields of the configuration that cannot be inferred from weights, see
            :func:`palpate.models.cris.config.config_of`.

    Returns:
        The configuration and the weights by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read without running code, belongs to another family, or
            has missing or unexpected tensors.
    """
    state = read_pickled(path, family="CRIS", marks=MARKS)
    try:
        config = config_of(state, **changes)
    except KeyError as error:
        raise ValueError(f"The weights of {path} lack {error}, which a CRIS has.") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    check_state(config, state, path)
    return config, state


def check_state(config: CrisConfig, state: dict[str, Tensor], source: Path) -> None:
    """Raise an error if weights do not fit a configuration.

    Batch counters, which old files do not have, are added to ``state``.

    Args:
        config: The configuration.
        state: The weights by name; changed in place.
        source: Where the weights come from, for the message.

    Raises:
        ValueError: If tensors are missing, unexpected, or of other shapes.
    """
    with torch.device("meta"):
        wanted = CRIS(config).state_dict()
    for name in wanted.keys() - state.keys():
        if name.endswith(_COUNTER):
            state[name] = torch.tensor(0)
    check_keys(wanted, state, str(source))
    check_shapes(wanted, state, str(source))


def convert_cris(checkpoint: Path, tokenizer: Path, out: Path, **changes: Any) -> Path:
    """Convert a community checkpoint to a model folder.

    Args:
        checkpoint: File of the checkpoint, see :func:`read_cris`.
        tokenizer: Folder with CLIP's ``vocab.json`` and ``merges.txt``, or ``tokenizer.json``.
        out: Output folder, which can be loaded with ``load_model``.
        changes: Fields of the configuration that cannot be inferred from weights:
            ``decoder_heads``, ``dropout``, ``size``, ``threshold`` and ``compat``.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError, ValueError: As :func:`read_cris`, or if there is no tokenizer.
    """
    config, state = read_cris(checkpoint, **changes)
    return _write(config, state, tokenizer, out)


def build_cris(tokenizer: Path, out: Path, config: CrisConfig | None = None, *, seed: int) -> Path:
    """Write a model folder with random weights, for training from scratch.

    Args:
        tokenizer: Folder with CLIP's ``vocab.json`` and ``merges.txt``, or ``tokenizer.json``.
        out: Output folder, which can be loaded with ``load_model``.
        config: The configuration; by default the published one.
        seed: Seed of the random weights.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: If there is no tokenizer.
    """
    config = config or CrisConfig()
    with seeded(seed):
        state = CRIS(config).state_dict()
    return _write(config, state, tokenizer, out)


def _write(config: CrisConfig, state: Mapping[str, Tensor], tokenizer: Path, out: Path) -> Path:
    if not has_tokenizer(tokenizer):
        raise FileNotFoundError(
            f"{tokenizer} has no vocab.json with merges.txt and no tokenizer.json; CRIS reads its "
            "prompts with CLIP's tokenizer."
        )
    out.mkdir(parents=True, exist_ok=True)
    processor = {
        "size": {"height": config.size, "width": config.size},
        "image_mean": OPENAI_MEAN,
        "image_std": OPENAI_STD,
    }
    write_text(out / "preprocessor_config.json", json.dumps(processor, indent=2) + "\n")
    for name in FILES:
        if (tokenizer / name).is_file() and tokenizer.resolve() != out.resolve():
            shutil.copyfile(tokenizer / name, out / name)
    write_weights(state, out / "model.safetensors")
    write_text(out / "config.json", json.dumps(config.to_json(), indent=2) + "\n")
    return out
