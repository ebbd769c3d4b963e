"""Load a model by name, from its files, or from a checkpoint."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from palpate.models import checkpoints
from palpate.models.exported.pickled import PICKLED, load_pickled
from palpate.models.exported.weights import fill, refuse_without_network
from palpate.models.families import (
    FAMILIES,
    WEIGHTS,
    family_at,
    family_by_name,
    find_place,
)
from palpate.models.pixel_model import PixelModel
from palpate.models.request import AdapterInit, AdapterName, Request, portable
from palpate.models.wrap.wrap import Wrapped
from palpate.user_code import is_code


def load_model(
    name_or_directory: str | Path,
    adapter: AdapterName | None = None,
    *,
    init: AdapterInit = "identity",
    width: int | None = None,
    base: str | Path | None = None,
    tokenizer: str | Path | None = None,
    revision: str | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    trust_code: bool = False,
) -> PixelModel:
    """Load a segmentation model, in evaluation mode; only adapters require gradient.

    Args:
        name_or_directory: A name listed by ``palpate models``; a hub name, folder or file of a
            family in :data:`palpate.models.FAMILIES`; or the folder of a palpate checkpoint, which
            includes its adapter. Parameters restored from a checkpoint require gradient again.
        adapter: Name of an adapter, such as ``dense-vl``; see
            :mod:`palpate.models.clipseg.adapters`. Not every family supports adapters.
        init: ``"identity"``: new adapters do not change the model's output. ``"paper"``: the
            published initialisation and form.
        width: Width of the adapters' bottleneck; by default the published width.
        base: The base model of a checkpoint, if it was moved; or, for a weight file of another
            project, the model that these weights belong to: a name, or ``file.py:function``.
        tokenizer: Folder with tokenizer files, if the model's folder has none.
        revision: Branch, tag or commit on the hub.
        options: Options of the family, such as the sizes of a network with random weights.
        seed: Seed of randomly initialised weights.
        device: Device of the model.
        trust_code: Let files run code of their own: expressions in a MONAI bundle, pickled
            networks, TorchScript that opens files. Only for files of people you trust.

    Returns:
        A module to be called as ``model(images, prompts=[...])``, with ``boxes=[...]`` in addition
        if ``model.wants_boxes`` is True; see :class:`palpate.models.PixelModel`.

    Raises:
        FileNotFoundError: If the model, its weights or its base model is missing.
        ValueError: If the model belongs to no known family, its weights do not fit, the adapter is
            unknown, or the base weights differ from those that a checkpoint was trained on.
    """
    request = Request(
        name=str(name_or_directory),
        adapter=adapter,
        init=init,
        width=width,
        tokenizer=None if tokenizer is None else Path(tokenizer),
        options=options or {},
        seed=seed,
        trust_code=trust_code,
    )
    check_device(device)
    request = _placed(request, revision)
    if request.place is None or not checkpoints.is_checkpoint(request.place):
        given = {} if base is None else {"base": str(base)}
        model = _load(replace(request, options={**request.options, **given}))
    else:
        model = _load_checkpoint(request, base, revision)
    return model.to(device).eval()


def _placed(request: Request, revision: str | None) -> Request:
    """Add the folder or file of the model to the request, if the model needs files."""
    if family_by_name(request.name) is not None:
        return request
    return replace(request, place=find_place(request.name, revision))


def check_device(device: str | torch.device) -> None:
    """Check that PyTorch can use a device.

    Raises:
        ValueError: If it cannot.
    """
    try:
        torch.empty(0, device=device)
    # A build without CUDA raises an AssertionError, an unknown name a RuntimeError.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        has = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        if torch.backends.mps.is_available():
            has.append("mps")
        raise ValueError(
            f"PyTorch cannot use the device {str(device)!r} here; it has {' and '.join(has)}. "
            "Leave the device out (model.device auto) to use what there is."
        ) from error


def _load(request: Request) -> PixelModel:
    family = family_by_name(request.name) or _family_of_file(request)
    if family == WEIGHTS:
        return _load_weights(request)
    if family == PICKLED:
        return load_pickled(request)
    return FAMILIES[family].load(request)


def _family_of_file(request: Request) -> str:
    try:
        return family_at(request.folder)
    except ValueError:
        if not request.trust_code or not request.folder.is_file():
            raise
    return PICKLED


def _load_weights(request: Request) -> PixelModel:
    """Load the weights of a file into the network that the option ``base`` names."""
    options = dict(request.options)
    base = options.pop("base", None)
    if base is None:
        return refuse_without_network(request)
    model = _load(_placed(replace(request, name=str(base), place=None, options=options), None))
    fill(model, request.folder, str(base))
    model.name = request.name
    if isinstance(model, Wrapped):
        model.options = {**model.options, "base": portable(str(base))}
    return model


def _load_checkpoint(request: Request, base: str | Path | None, revision: str | None) -> PixelModel:
    folder = request.folder
    if request.adapter is not None:
        raise ValueError(
            f"{folder} is a checkpoint and brings its own adapter; leave adapter out "
            "(model.adapter null), or load its base model to start another."
        )
    card = checkpoints.read_card(folder)
    # A checkpoint may come from anyone, so it must not choose code that loading it would run.
    if base is None and is_code(card.base):
        raise ValueError(
            f"The checkpoint {folder} was trained on code, {card.base!r}, which loading it would "
            "run. If you trust that code, pass it as base=..."
        )
    name = checkpoints.find_base(card, folder, base)
    model = _load_base(
        replace(
            request,
            name=str(name),
            place=None,
            adapter=card.adapter,
            init=card.adapter_init,
            width=card.adapter_width,
            options=request.options or card.options,
            seed=card.seed,
        ),
        folder,
        revision,
    )
    # Options given by the caller may change the traits on purpose.
    checkpoints.restore(model, card, folder, as_trained=not request.options)
    return model


def _load_base(request: Request, checkpoint: Path, revision: str | None) -> PixelModel:
    try:
        request = _placed(request, revision)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The checkpoint {checkpoint} needs the model it was trained on: {error} If that model "
            "moved, pass load_model(..., base=FOLDER)."
        ) from error
    return _load(request)
