"""Load a CLIPSeg from a folder in Hugging Face's layout (configuration, weights, tokenizer)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palpate.data.reading.decode import read_pair
from palpate.models.clip.config import ClipSegConfig
from palpate.models.clip.tokenizer import Tokenizer
from palpate.models.clipseg.adapters import adapt
from palpate.models.clipseg.clipseg import CLIPSeg
from palpate.models.clipseg.model import VLSM
from palpate.models.clipseg.visual_prompt import DEFAULT
from palpate.models.files.weights import (
    EMBEDDED,
    check_keys,
    check_shapes,
    find_model,
    fingerprint,
    read_json,
    read_weights,
)
from palpate.models.pixel_model import PixelModel
from palpate.models.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    channels_of,
    check_side,
    next_multiple,
)
from palpate.models.request import Request
from palpate.randomness import seeded

# Buffers that older versions of transformers saved with the weights.
_DERIVED = ".position_ids"
# File name of the image processor's configuration before transformers 5, and since.
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
OPTIONS = ("size", "example", "mask", "highlight")


def load_clipseg(request: Request) -> VLSM:
    """Load a CLIPSeg and insert the requested adapter; only the adapter requires gradient.

    Raises:
        FileNotFoundError: If the configuration or the weights are missing.
        ValueError: If it is not a CLIPSeg, its weights do not fit, or adapter or options are not
            valid.
    """
    request.check_options(OPTIONS)
    folder = request.place or find_model(request.name)
    return equip(make_vlsm(request, folder, read_weights(folder)), request)


def make_vlsm(request: Request, folder: Path, state: dict[str, Tensor], **sizes: Any) -> VLSM:
    """Create a frozen CLIPSeg without adapters.

    Args:
        request: The arguments of ``load_model``.
        folder: Folder with configuration and tokenizer in Hugging Face's layout.
        state: Weights, in Hugging Face's names.
        sizes: Fields of the configuration to replace.

    Raises:
        FileNotFoundError: If the configuration is missing.
        ValueError: If it is not the configuration of a CLIPSeg, or the weights do not fit.
    """
    values = read_json(folder / "config.json") | sizes
    net = _empty_net(values, folder)
    state = _without_derived(state)
    source = str(request.place or folder)
    check_keys(net.state_dict(), state, source)
    check_shapes(net.state_dict(), state, source)
    net.load_state_dict(state, assign=True)
    net.requires_grad_(False)
    ours = values.get("palpate") or {}
    return VLSM(
        net,
        Tokenizer(request.tokenizer or folder, net.config.text),
        _preprocessing(folder, net.config),
        threshold=ours.get("threshold", 0.5),
        name=request.name,
        base_hash=fingerprint(state),
        licence=ours.get("licence", _licence(request.name)),
        origin="comes with palpate" if request.name in EMBEDDED else request.name,
    )


def equip(model: VLSM, request: Request) -> VLSM:
    """Insert the requested adapter and apply the options of a request.

    Options:
        size: Side of the network's input in pixels, a multiple of the patch size.
        example, mask: Files of an example image and its mask, used as the prompt in place of texts.
        highlight: How the object is marked in the example, one of
            :data:`palpate.models.clipseg.visual_prompt.HIGHLIGHTS`.

    Raises:
        FileNotFoundError: If an image file is missing.
        ValueError: If adapter or options are not valid.
    """
    options = request.options
    if "size" in options:
        side = check_side(options["size"], model.net.patch_size)
        model.preprocessing = replace(model.preprocessing, size=side)
    if request.adapter is not None:
        with seeded(request.seed):
            adapt(model.net, request.adapter, init=request.init, width=request.width)
        model.adapter, model.adapter_init = request.adapter, request.init
        model.adapter_width, model.seed = request.width, request.seed
    if {"example", "mask", "highlight"} & options.keys():
        _show(model, options)
    model.options = request.portable_options("example", "mask", "decoder", "base")
    return model


def load_vlsm(name: str | Path, device: str | torch.device = "cpu") -> VLSM:
    """Load a CLIPSeg without adapters in evaluation mode, for callers that use its parts.

    Raises:
        FileNotFoundError, ValueError: As :func:`load_clipseg`.
    """
    return load_clipseg(Request(str(name), find_model(name))).to(device).eval()


def as_vlsm(model: PixelModel) -> VLSM:
    """Check that a model is a CLIPSeg, and return it.

    Raises:
        ValueError: If it belongs to another family.
    """
    if not isinstance(model, VLSM):
        raise ValueError(f"Expected a CLIPSeg, got {model.name}, a {type(model).__name__}.")
    return model


def _show(model: VLSM, options: Mapping[str, Any]) -> None:
    given = {name: Path(options[name]) for name in ("example", "mask") if name in options}
    if len(given) < 2:
        raise ValueError(
            f"Expected options example and mask together, an image and what in it is meant, got "
            f"{next(iter(given), 'highlight')} alone."
        )
    for path in given.values():
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}, which an option names.")
    image, mask = read_pair(given["example"], given["mask"])
    model.show(image[None], mask[None], options.get("highlight", DEFAULT))


def _empty_net(values: dict[str, Any], folder: Path) -> CLIPSeg:
    try:
        config = ClipSegConfig.from_hf(values)
        with torch.device("meta"):  # allocate nothing: the weights come from the file
            return CLIPSeg(config)
    except ValueError as error:
        raise ValueError(f"{folder} cannot be loaded: {error}") from error


def _licence(name: str) -> str:
    return "Apache-2.0" if name in EMBEDDED or name.startswith("CIDAS/") else "not stated"


def _without_derived(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not k.endswith(_DERIVED)}


def _preprocessing(folder: Path, config: ClipSegConfig) -> Preprocessing:
    """Read input size, mean and standard deviation from the image processor's configuration.

    Without that file, mean and standard deviation are ImageNet's, as in every published CLIPSeg,
    and no input size is fixed.
    """
    # The published CLIPSeg has position embeddings for 224 pixels, but is used at 352. Others are
    # used at the size of their position embeddings.
    fallback = 352 if config.vision.image_size == 224 else config.vision.image_size
    patch = config.vision.patch_size
    fallback = next_multiple(fallback, patch)
    values = processor_values(folder)
    size = _side(values.get("size"), folder)
    if size is not None and size % patch:
        raise ValueError(
            f"The image processor of {folder} asks for {size} pixels, which patches of {patch} do "
            "not divide."
        )
    colours = channels_of(values, folder, IMAGENET_MEAN, IMAGENET_STD)
    try:
        return Preprocessing(size, *colours, fallback=fallback)
    except ValueError as error:
        raise ValueError(f"{folder} cannot be loaded: {error}") from error


def processor_values(folder: Path) -> dict[str, Any]:
    """Read the image processor's configuration, whose layout depends on the transformers version.

    Returns:
        Its content; empty if there is no such file.
    """
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
    try:
        return int(size) if size else None
    except (ValueError, TypeError):
        raise ValueError(
            f"Expected the image processor of {folder} to give a size in pixels, got {size!r}."
        ) from None
