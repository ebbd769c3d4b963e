"""MONAI bundles: a folder with ``configs/`` and ``models/``.

A bundle's configuration may name any Python callable and any expression. Only networks of
``monai.networks`` with plain arguments are made of it, unless the user trusts the bundle.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import nn

from palpate.config_io import load_yaml
from palpate.models.exported.network import Exported, FromFile, as_model
from palpate.models.exported.probe import Input, probed
from palpate.models.exported.torchscript import read_torchscript
from palpate.models.exported.weights import fit
from palpate.models.files.safe_pickle import read_state
from palpate.models.request import Request
from palpate.models.wrap.advice import told
from palpate.models.wrap.wrap import Wrapped

_CONFIGS = tuple(
    f"{stem}.{kind}"
    for stem in ("inference", "evaluate", "train", "multi_gpu_train")
    for kind in ("json", "yaml", "yml")
)
_NETWORKS = ("network_def", "network", "net")
_WEIGHTS = ("model.pt", "model.pth", "model_best.pt", "best_metric_model.pt", "model.safetensors")
_SCRIPTS = ("model.ts", "model.torchscript")
_TRUSTED = "monai.networks."


def is_bundle(place: Path) -> bool:
    """Whether a folder is a MONAI bundle."""
    return (place / "configs").is_dir() and (place / "models").is_dir()


def load_bundle(request: Request) -> Wrapped:
    """Load the network of a MONAI bundle; options are the arguments of :func:`palpate.wrap`.

    Raises:
        FileNotFoundError: If the bundle has no weights.
        ValueError: If its network is 3-D or cannot be made, wants to run code, or its weights do
            not fit.
    """
    folder = request.folder
    metadata = _read(folder / "configs" / "metadata.json")
    inputs, outputs = _formats(metadata)
    settings = _settings(inputs, outputs)
    config = _config(folder)
    script = next((p for n in _SCRIPTS if (p := folder / "models" / n).is_file()), None)
    weights = next((p for n in _WEIGHTS if (p := folder / "models" / n).is_file()), None)
    name = metadata.get("name", folder.name)
    if weights is not None and config:
        net = _made(config, folder, trust_code=request.trust_code)
        fit(net, read_state(weights), weights)
        exported = Exported(net, weights)
        exported.register_buffer("config_hash", exported.file_hash.new_tensor(_digest(config)))
        options = probed(exported, Input(channels=settings.get("channels")))
        found = FromFile(exported, options, f"MONAI bundle {name}")
    elif script is not None:
        read = read_torchscript(script, trust_code=request.trust_code)
        found = FromFile(read.net, read.options, f"MONAI bundle {name} (TorchScript)")
    else:
        raise FileNotFoundError(
            f"{folder / 'models'} has no weights: expected one of "
            f"{', '.join((*_WEIGHTS, *_SCRIPTS))}."
        )
    high = 1 / settings.get("std", (1.0,))[0]
    _tell_of_preprocessing(config, folder, request.options, high)
    return as_model(request, FromFile(found.net, {**found.options, **settings}, found.origin))


def _formats(metadata: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The description of the images, and that of the output."""
    formats = metadata.get("network_data_format") or {}
    inputs, outputs = formats.get("inputs") or {}, formats.get("outputs") or {}
    image: Mapping[str, Any] = inputs.get("image") or next(iter(inputs.values()), {})
    return image, outputs.get("pred") or next(iter(outputs.values()), {})


def _settings(image: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``wrap`` that the metadata determine."""
    channels = image.get("num_channels")
    shape = image.get("spatial_shape") or ()
    if len(shape) == 3:
        raise ValueError(
            "Expected a bundle for 2-D images, got one whose spatial_shape has three axes; palpate "
            "evaluates slices."
        )
    told: dict[str, Any] = {"channels": channels} if channels in (1, 3) else {}
    low, high = (*(image.get("value_range") or ()), 0, 1)[:2]
    if channels in (1, 3) and high > 1 and low == 0:
        told["std"] = [1 / high] * channels  # the network reads pixel values from 0 to `high`
    if (answer.get("num_channels") or 1) > 1:
        named = answer.get("channel_def") or {}
        found = {
            str(n).lower(): int(k) for k, n in named.items() if "background" not in str(n).lower()
        }
        told["out"] = "classes"
        if len(found) > 1:
            told["classes"] = found
    return told


def _config(folder: Path) -> dict[str, Any]:
    for name in _CONFIGS:
        path = folder / "configs" / name
        if path.is_file():
            values = _read(path)
            if any(key in values for key in _NETWORKS):
                return values
    return {}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    try:
        values = json.loads(text) if path.suffix == ".json" else load_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    return values if isinstance(values, dict) else {}


def _made(config: dict[str, Any], folder: Path, *, trust_code: bool) -> nn.Module:
    """Make the network of a bundle's configuration, with MONAI's own parser."""
    from monai.bundle.config_parser import ConfigParser  # takes seconds to import

    key = next(key for key in _NETWORKS if key in config)
    if not trust_code:
        _refuse_code(config, key, folder)
        config = _reached(config, key)
    parser = ConfigParser({**config, "bundle_root": str(folder)})
    try:
        made = parser.get_parsed_content(key)
    except Exception as error:  # MONAI's classes raise many types of error
        raise ValueError(f"The network of {folder} cannot be made: {told(error)}.") from error
    if isinstance(made, nn.Module):
        return made
    raise ValueError(f"Expected {key} of {folder} to be a network, got a {type(made).__name__}.")


def _refuse_code(config: Mapping[str, Any], key: str, folder: Path) -> None:
    """Refuse expressions, and callables other than MONAI's networks, that the network needs."""
    for value in _reached(config, key).values():
        for name, leaf in _leaves(value):
            strange = name == "_target_" and not _is_network(str(leaf))
            code = isinstance(leaf, str) and (leaf.lstrip().startswith("$") or "$" in leaf[:2])
            if strange or code:
                raise ValueError(
                    f"The bundle {folder} wants to run code: its network needs {leaf!r}. If you "
                    "trust it, add --trust-code (in Python: trust_code=True; in a recipe: "
                    "model.trust_code: true)."
                )


def _is_network(target: str) -> bool:
    """Whether a name is that of a class in ``monai.networks``, or short for one."""
    return target.startswith(_TRUSTED) or target.isidentifier()


def _reached(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The parts of a configuration that a part refers to, directly or indirectly, and itself."""
    found, left = dict[str, Any](), [key]
    while left:
        name = left.pop()
        if name in found or name not in config:
            continue
        found[name] = config[name]
        for _, leaf in _leaves(config[name]):
            if isinstance(leaf, str):
                left += [other for other in config if f"@{other}" in leaf or f"%{other}" in leaf]
    return found


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, str(key))
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, name)
    else:
        yield name, value


def _digest(config: Mapping[str, Any]) -> list[int]:
    return list(sha256(json.dumps(config, sort_keys=True, default=str).encode()).digest())


def _tell_of_preprocessing(
    config: Mapping[str, Any], folder: Path, options: Mapping[str, Any], high: float
) -> None:
    """Warn of intensity transforms of the bundle, which palpate does not apply."""
    told_by_user = {"mean", "std"} & options.keys()
    named = [
        str(leaf)
        for key in ("preprocessing", "preprocess", "validate", "train")
        for name, leaf in _leaves(config.get(key))
        if name == "_target_" and ("Intensity" in str(leaf) or "Normalize" in str(leaf))
    ]
    if named and not told_by_user:
        warnings.warn(
            f"The bundle {folder} prepares its images with {', '.join(dict.fromkeys(named))}, "
            f"which palpate does not run: it gives the network pixel values from 0 to {high:g}. If "
            "that is something else, set mean and std.",
            RuntimeWarning,
            stacklevel=2,
        )
