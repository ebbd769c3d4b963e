"""``load_model``: load a model by its name, folder or checkpoint."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from palpate.models import checkpoints
from palpate.models.families import FAMILIES, family_at, family_by_name, find_place
from palpate.models.pixel_model import PixelModel
from palpate.models.request import AdapterInit, AdapterName, Request
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
) -> PixelModel:
    """Load a segmentation model, in evaluation mode; only adapters require gradient.

    Args:
        name_or_directory: A name that ``palpate models`` lists; a hub name, folder or file of a
            family in :data:`palpate.models.FAMILIES`; or the folder of a checkpoint of palpate,
            which includes its adapter. Parameters that the checkpoint trained require gradient
            again.
        adapter: Name of an adapter, such as ``dense-vl``; see
            :mod:`palpate.models.clipseg.adapters`. Not every family supports adapters.
        init: ``"identity"``: the model's outputs do not change at first. ``"paper"``: the published
            initialisation and form.
        width: Bottleneck of the adapters; by default the published one.
        base: The base model of a checkpoint, if it was moved; or the model that a weight file of
            another project belongs to.
        tokenizer: Folder of tokenizer files, if the model has none.
        revision: Branch, tag or commit on the hub.
        options: Options of the family, such as the sizes of a network with random weights.
        seed: Of weights that are drawn at random.
        device: Device of the model.

    Returns:
        A module called as ``model(images, prompts=[...])``, and with ``boxes=[...]`` if
        ``model.wants_boxes``; see :class:`palpate.models.PixelModel`.

    Raises:
        FileNotFoundError: If the model, its weights or its base model is missing.
        ValueError: If it belongs to no known family, its weights do not fit, the adapter is
            unknown, or a checkpoint was trained on other base weights.
    """
    request = Request(
        name=str(name_or_directory),
        adapter=adapter,
        init=init,
        width=width,
        tokenizer=None if tokenizer is None else Path(tokenizer),
        options=options or {},
        seed=seed,
    )
    request = _placed(request, revision)
    if request.place is None or not checkpoints.is_checkpoint(request.place):
        given = {} if base is None else {"base": str(base)}
        model = _load(replace(request, options={**request.options, **given}))
    else:
        model = _load_checkpoint(request, base, revision)
    return model.to(device).eval()


def _placed(request: Request, revision: str | None) -> Request:
    """The request with the folder or file of the model, if it has one."""
    if family_by_name(request.name) is not None:
        return request
    return replace(request, place=find_place(request.name, revision))


def _load(request: Request) -> PixelModel:
    family = family_by_name(request.name) or family_at(request.folder)
    return FAMILIES[family].load(request)


def _load_checkpoint(request: Request, base: str | Path | None, revision: str | None) -> PixelModel:
    folder = request.folder
    if request.adapter is not None:
        raise ValueError(
            f"{folder} is a checkpoint and brings its own adapter; leave adapter out "
            "(model.adapter null), or load its base model to start another."
        )
    card = checkpoints.read_card(folder)
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
