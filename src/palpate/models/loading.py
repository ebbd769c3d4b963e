"""``load_model``: from a name or a folder to a model that can be called, tuned and attacked."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palpate.models import checkpoints
from palpate.models.adapters import AdapterInit, AdapterName, adapt
from palpate.models.clipseg import CLIPSeg
from palpate.models.config import ClipSegConfig
from palpate.models.tokenizer import Tokenizer
from palpate.models.vlsm import IMAGENET_MEAN, IMAGENET_STD, VLSM, Preprocessing
from palpate.models.weights import (
    check_keys,
    check_shapes,
    find_model,
    fingerprint,
    read_json,
    read_weights,
)

# Buffers that older versions of transformers saved with the weights.
_DERIVED = ".position_ids"
# Of the image processor, before and since transformers 5.
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def load_model(
    name_or_directory: str | Path,
    adapter: AdapterName | None = None,
    *,
    init: AdapterInit = "identity",
    width: int | None = None,
    base: str | Path | None = None,
    tokenizer: str | Path | None = None,
    revision: str | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> VLSM:
    """Load a text-prompted segmenter, in evaluation mode; only adapters require gradient.

    Args:
        name_or_directory: A CLIPSeg in Hugging Face's layout, as hub name or local directory; or a
            checkpoint folder written by palpate, which brings its adapter with it. Whatever it
            trained requires gradient again.
        adapter: ``dense-`` or ``shallow-`` with ``v``, ``vl`` or ``vlc``; see
            :mod:`palpate.models.adapters`.
        init: ``"identity"``: the adapted model computes what the model computed. ``"paper"``: the
            published initialisation and form.
        width: Bottleneck of the adapters; by default the published one.
        base: Where the model under a checkpoint is now, if it moved.
        tokenizer: Folder of tokenizer files, if the model's own has none.
        revision: Branch, tag or commit on the hub.
        seed: Of the adapters' initial weights.
        device: Where to put it.

    Returns:
        A module called as ``model(images, prompts=[...])``; see :class:`palpate.models.vlsm.VLSM`.

    Raises:
        FileNotFoundError: If the model, its weights or its base is not there.
        ValueError: If it is not a CLIPSeg, its weights do not fit, the adapter is unknown, or a
            checkpoint was made for other base weights.
    """
    folder = find_model(name_or_directory, revision=revision)
    if checkpoints.is_checkpoint(folder):
        if adapter is not None:
            raise ValueError(
                f"{folder} is a checkpoint and brings its own adapter; leave adapter out, or load "
                "its base model to start another."
            )
        card = checkpoints.read_card(folder)
        name = checkpoints.find_base(card, folder, base)
        model = _load_base(name, _find_base(name, folder, revision), tokenizer)
        _adapt(model, card.adapter, card.adapter_init, card.adapter_width, seed)
        checkpoints.restore(model, card, folder)
    else:
        model = _load_base(name_or_directory, folder, tokenizer)
        _adapt(model, adapter, init, width, seed)
    return model.to(device).eval()


def _find_base(name: str | Path, checkpoint: Path, revision: str | None) -> Path:
    try:
        return find_model(name, revision=revision)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The checkpoint {checkpoint} needs the model it was trained on: {error} If that model "
            "moved, pass load_model(..., base=FOLDER)."
        ) from error


def _load_base(name: str | Path, folder: Path, tokenizer: str | Path | None) -> VLSM:
    values = read_json(folder / "config.json")
    net = _empty_net(values, folder)
    state = _without_derived(read_weights(folder))
    check_keys(net.state_dict(), state, str(folder))
    check_shapes(net.state_dict(), state, str(folder))
    net.load_state_dict(state, assign=True)
    net.requires_grad_(False)
    return VLSM(
        net,
        Tokenizer(folder if tokenizer is None else Path(tokenizer), net.config.text),
        _preprocessing(folder, net.config),
        threshold=values.get("palpate", {}).get("threshold", 0.5),
        name=str(name),
        base_hash=fingerprint(state),
    )


def _empty_net(values: dict[str, Any], folder: Path) -> CLIPSeg:
    try:
        config = ClipSegConfig.from_hf(values)
        with torch.device("meta"):  # the weights come from the file
            return CLIPSeg(config)
    except ValueError as error:
        raise ValueError(f"{folder} cannot be loaded: {error}") from error


def _adapt(
    model: VLSM, name: AdapterName | None, init: AdapterInit, width: int | None, seed: int
) -> None:
    if name is None:
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapt(model.net, name, init=init, width=width)
    model.adapter, model.adapter_init, model.adapter_width = name, init, width


def _without_derived(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not k.endswith(_DERIVED)}


def _preprocessing(folder: Path, config: ClipSegConfig) -> Preprocessing:
    """Mean, standard deviation and size from the image processor's file, where there is one.

    Without it the mean and deviation are ImageNet's, as every published CLIPSeg has them, and the
    image decides the size.
    """
    # CLIPSeg runs at 352 whatever its position embedding was trained for; a tower of another
    # size, at its own.
    fallback = 352 if config.vision.image_size == 224 else config.vision.image_size
    patch = config.vision.patch_size
    fallback = math.ceil(fallback / patch) * patch
    values = _processor(folder)
    size = _side(values.get("size"), folder)
    if size is not None and size % patch:
        raise ValueError(
            f"The image processor of {folder} asks for {size} pixels, which patches of {patch} do "
            "not divide."
        )
    return Preprocessing(
        size=size,
        mean=tuple(values.get("image_mean") or IMAGENET_MEAN),
        std=tuple(values.get("image_std") or IMAGENET_STD),
        fallback=fallback,
    )


def _processor(folder: Path) -> dict[str, Any]:
    for path in (folder / name for name in _PROCESSORS):
        if path.is_file():
            values = read_json(path)
            return dict(values.get("image_processor") or values)
    return {}


def _side(size: Any, folder: Path) -> int | None:
    if isinstance(size, dict):
        sides = {side for side in map(size.get, ("height", "width", "shortest_edge")) if side}
        if len(sides) > 1:
            raise ValueError(
                f"Expected the image processor of {folder} to make squares, got {size}."
            )
        size = sides.pop() if sides else None
    return int(size) if size else None
