"""Save and load checkpoints: the trained weights, and a description of base model and training.

A checkpoint is a folder with two files: ``weights.safetensors``, and the description (the "card")
``palpate.json``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from palpate.atomic import write_text
from palpate.config_io import flat
from palpate.models.clipseg.adapters import adapter_state
from palpate.models.families import family_by_name
from palpate.models.files.weights import (
    check_keys,
    check_shapes,
    fingerprint,
    read_json,
    write_weights,
)
from palpate.models.pixel_model import PixelModel, check_threshold
from palpate.models.request import AdapterInit, AdapterName, portable

_CARD, _WEIGHTS = "palpate.json", "weights.safetensors"
_FORMAT = 1


@dataclass(frozen=True)
class Card:
    """The description of a checkpoint.

    Attributes:
        base: Name or folder of the base model.
        base_hash: Fingerprint of the base model's weights.
        weights_hash: Fingerprint of the checkpoint's weights.
        adapter: Name of the adapter; None if the model itself was trained.
        adapter_init: Form of the adapter, ``identity`` or ``paper``.
        adapter_width: Width of the adapter's bottleneck; None for the published width.
        threshold: Probability above which a pixel is foreground.
        training: Training settings, and the metrics of the saved epoch.
        options: Options of the model's family.
        seed: Seed of the randomly initialised weights.
        traits: Settings that change the output but are not part of the weights, see
            :attr:`PixelModel.traits`.
        format: Version of the checkpoint format.
    """

    base: str
    base_hash: str
    weights_hash: str
    adapter: AdapterName | None
    adapter_init: AdapterInit = "identity"
    adapter_width: int | None = None
    threshold: float = 0.5
    training: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    traits: dict[str, Any] = field(default_factory=dict)
    format: int = _FORMAT


_CARDS = TypeAdapter(Card)


def save_checkpoint(
    model: PixelModel, folder: Path, training: dict[str, Any] | None = None
) -> None:
    """Save the trained weights of a model, including adapters, and their card.

    The checkpoint includes all parameters that require gradient, all parameters restored from an
    earlier checkpoint, and all buffers, since batch statistics change during training.

    Args:
        model: A trained model, as returned by ``load_model``.
        folder: Output folder. It is created if missing; an existing checkpoint is replaced.
        training: Settings and metrics of the training, stored in the card.

    Raises:
        ValueError: If there is nothing to save.
    """
    trained = {name for name, p in model.net.named_parameters() if p.requires_grad}
    kept = adapter_state(model.net).keys() | trained | model.restored
    if not kept:
        raise ValueError("Nothing to save: this model has no adapter and trains no parameter.")
    kept |= {name for name, _ in model.net.named_buffers()}
    if all(p.requires_grad for p in model.learners("all")):
        # Everything was trained: save unused weights too, so that no base weights are needed.
        kept = _names(model)
    state = {k: v.detach().cpu() for k, v in model.net.state_dict().items() if k in kept}
    card = Card(
        base=_lasting(model.name),
        base_hash=model.base_hash,
        weights_hash=fingerprint(state),
        threshold=model.threshold,
        training=training or {},
        traits=_plain(model.traits),
        **{"adapter": None, **model.set_up},
    )
    folder.mkdir(parents=True, exist_ok=True)
    # Write the card last: without it the folder is not a checkpoint, so an interrupted save of a
    # new checkpoint cannot be mistaken for a complete one.
    write_weights(state, folder / _WEIGHTS)
    write_text(folder / _CARD, json.dumps(asdict(card), indent=2) + "\n")


def load_checkpoint(model: PixelModel, folder: Path) -> None:
    """Load a checkpoint into an existing model.

    Needed for models that ``load_model`` cannot create, such as a network wrapped in a script.

    Args:
        model: The model that the checkpoint was trained from; changed in place.
        folder: Folder written by :func:`save_checkpoint`.

    Raises:
        FileNotFoundError, ValueError: As :func:`restore`.
    """
    restore(model, read_card(folder), folder)


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint written by :func:`save_checkpoint`."""
    return (folder / _CARD).is_file()


def read_card(folder: Path) -> Card:
    """Read the card of a checkpoint.

    Raises:
        FileNotFoundError: If the folder has no card.
        ValueError: If the card is damaged or has another format version.
    """
    values = read_json(folder / _CARD)
    if values.get("format") != _FORMAT:
        raise ValueError(
            f"Expected format {_FORMAT} in {folder / _CARD}, got {values.get('format')!r}: it was "
            "written by another version of palpate, or is no checkpoint."
        )
    missing = {"base", "base_hash", "weights_hash", "adapter"} - values.keys()
    unknown = values.keys() - {f.name for f in fields(Card)}
    if missing or unknown:
        raise ValueError(
            f"The card {folder / _CARD} is damaged: missing {sorted(missing)}, unknown "
            f"{sorted(unknown)}."
        )
    try:
        card: Card = _CARDS.validate_python(values)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"The card {folder / _CARD} is damaged: {'; '.join(wrong)}.") from None
    return card


def find_base(card: Card, folder: Path, base: str | Path | None) -> str | Path:
    """Find the base model of a checkpoint.

    Returns:
        ``base`` if it is given. Otherwise the base model named in the card: a known name, a path
        (absolute, or relative to the working directory or to the checkpoint) of a folder or file,
        or a hub name.
    """
    if base is not None:
        return base
    if family_by_name(card.base) is not None:
        return card.base
    local = [Path(card.base), folder / card.base]
    found = [place for place in local if place.exists()]
    return found[0] if found else card.base


def _lasting(name: str) -> str:
    """The model's name, with a path made absolute so that it works from any directory."""
    return portable(name) if family_by_name(name) is None else name


def restore(model: PixelModel, card: Card, folder: Path, *, as_trained: bool = True) -> None:
    """Load the weights of a checkpoint into its base model, after checking that they match.

    The restored parameters require gradient again, and are included in the next checkpoint.

    Args:
        model: The base model, with adapters if the checkpoint has any; changed in place.
        card: The card of the checkpoint.
        folder: The folder of the checkpoint.
        as_trained: Raise an error if the traits of the model differ from those in the card.

    Raises:
        FileNotFoundError: If the checkpoint's weights are missing.
        ValueError: If the weights or traits of the base model differ from those the checkpoint
            was trained on, or the checkpoint's weights do not match its card.
    """
    state = _read_trained(folder, card)
    own = model.net.state_dict()
    # A checkpoint with every weight replaces all base weights, so these need not match.
    if not state.keys() >= _names(model) and model.base_hash != card.base_hash:
        raise ValueError(
            f"The checkpoint {folder} was trained on {card.base} with weights "
            f"{card.base_hash[:12]}…, but {model.name} has {model.base_hash[:12]}…. Pass "
            "base=... with the model it belongs to."
        )
    if as_trained:
        _check_traits(model, card, folder)
    check_keys(own.keys() & (state.keys() | adapter_state(model.net).keys()), state, str(folder))
    check_shapes(own, state, str(folder))
    model.net.load_state_dict(state, strict=False)
    for name, parameter in model.net.named_parameters():
        parameter.requires_grad_(name in state)
    model.threshold, model.fresh = check_threshold(card.threshold), False
    model.restored, model.started_from = frozenset(state), card.weights_hash


def _check_traits(model: PixelModel, card: Card, folder: Path) -> None:
    """Compare only the traits that both have, since later versions of palpate may add traits."""
    before, now = flat(card.traits), flat(_plain(model.traits))
    told = [k for k in before.keys() & now.keys() if before[k] != now[k]]
    if told:
        listed = ", ".join(f"{k} was {before[k]} and is {now[k]}" for k in sorted(told)[:10])
        raise ValueError(
            f"The checkpoint {folder} was trained on a model that computes something else than "
            f"{model.name}: {listed}. Pass base=... with the model it belongs to, or options=... "
            "if that is what you want."
        )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values to plain JSON types (for example, tuples become lists)."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(values), default=str))
    return plain


def _read_trained(folder: Path, card: Card) -> dict[str, Tensor]:
    """The weights of a checkpoint, checked against the hash in its card."""
    path = folder / _WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; a checkpoint is that file and {_CARD}.")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read as weights; copy it again: {error}.") from error
    if fingerprint(state) != card.weights_hash:
        raise ValueError(
            f"{path} is not what {_CARD} beside it describes; copy both again from where they "
            "were written."
        )
    return state


def _names(model: PixelModel) -> set[str]:
    """Names of all tensors in the state dict; a tensor shared by two modules is listed once."""
    saved = model.net.state_dict().keys()
    named = (*model.net.named_parameters(), *model.net.named_buffers())
    return {name for name, _ in named if name in saved}
