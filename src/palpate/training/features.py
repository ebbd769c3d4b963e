"""Compute the features of a frozen image encoder once and cache them on disk.

If only text encoder and decoder are trained, the image encoder returns the same hidden states in
every epoch. They are stored in half precision in a memory-mapped file, so only the current batch is
in memory, regardless of the number of images.
"""

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from palpate.atomic import write_text
from palpate.data import Case, collate, stream
from palpate.models import VLSM
from palpate.models.clipseg.adapters import adapter_state
from palpate.models.files.weights import read_json
from palpate.progress import Progress, silent
from palpate.training.batches import AnyData, TrainingBatch
from palpate.training.settings import Precision


@dataclass(frozen=True, eq=False)
class CachedFeatures(Dataset[TrainingBatch]):
    """Training samples with cached features in place of images.

    Attributes:
        data: The data set.
        folder: Folder of the cache.
        row: Row of each image in the array of features.
    """

    data: AnyData
    folder: Path
    row: dict[str, int]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> TrainingBatch:
        case = self.data.cases[index]
        taps = _read(self.folder / "features.npy", self.row[_image(case)])
        mask, path = _read(self.folder / "masks.npy", index), self.folder / "ignored.npy"
        ignored = _read(path, index) if path.is_file() else None
        return TrainingBatch(taps.float(), (case.prompt,), mask, ignored=ignored)

    def with_epoch(self, epoch: int) -> "CachedFeatures":
        """The same features, with the prompts of another epoch."""
        return replace(self, data=self.data.with_epoch(epoch))


class FeatureModel(nn.Module):
    """Text encoder and decoder of a model, applied to cached features."""

    def __init__(self, model: VLSM) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, prompts: tuple[str, ...]) -> Tensor:
        net = self.model.net
        taps = [slot(tap) for slot, tap in zip(net.tap_slots, features.unbind(1), strict=True)]
        logits: Tensor = net.decoder(taps, self.model.condition(prompts))
        return logits


def cache_features(
    model: VLSM,
    data: AnyData,
    folder: Path,
    *,
    batch_size: int = 16,
    precision: Precision = "fp32",
    workers: int = 0,
    progress: Progress = silent,
) -> CachedFeatures:
    """Compute the hidden states that the decoder reads for every image, or reuse cached ones.

    Args:
        model: A model with a frozen image encoder without adapters.
        data: Samples at the network's input size.
        folder: Folder of the cache: features, masks and a description. An existing cache is reused
            if its description matches the images, their size and the weights.
        batch_size: Images per forward pass.
        precision: ``"bf16"`` runs the image encoder in bfloat16.
        workers: Number of threads that prefetch images.
        progress: Called after every batch.

    Returns:
        Training samples with the cached features.

    Raises:
        ValueError: If the image encoder has adapters, or the samples have another size.
        FloatingPointError: If a hidden state is not finite, or too large for half precision.
    """
    if adapter_state(model.net.clip.vision_model):
        raise ValueError(
            "Expected an image tower without adapters, got one with adapters, whose features "
            "would change during training."
        )
    # An image may have several masks; its features are computed once, for the first of them.
    first: dict[str, int] = {}
    for index, case in enumerate(data.cases):
        first.setdefault(_image(case), index)
    described = {"made of": _describe(model, data, precision)}
    if not _is_complete(folder, described):
        _compute(model, data, first, folder, batch_size, precision, workers, progress)
        write_text(folder / "features.json", json.dumps(described))
    row = {image: number for number, image in enumerate(first)}
    return CachedFeatures(data, folder, row)


def _compute(
    model: VLSM,
    data: AnyData,
    first: dict[str, int],
    folder: Path,
    batch_size: int,
    precision: Precision,
    workers: int,
    progress: Progress,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Without its description, the cache is incomplete until all features are computed.
    (folder / "features.json").unlink(missing_ok=True)
    (folder / "ignored.npy").unlink(missing_ok=True)
    side = _side(model, data)
    config = model.net.config
    tokens = (side // config.vision.patch_size) ** 2 + 1
    shape = (len(first), len(config.extract_layers), tokens, config.vision.hidden_size)
    _make(folder / "features.npy", np.float16, shape)
    _make(folder / "masks.npy", np.bool_, (len(data), 1, side, side))
    row = {index: number for number, index in enumerate(first.values())}
    read = stream(data, workers=workers, ahead=batch_size)
    for start in range(0, len(data), batch_size):
        indices = range(start, min(start + batch_size, len(data)))
        batch = collate(list(islice(read, batch_size)))
        _write(folder / "masks.npy", list(indices), batch.masks.numpy())
        if batch.ignored is not None:
            if not (folder / "ignored.npy").is_file():  # only sets that ignore pixels have one
                _make(folder / "ignored.npy", np.bool_, (len(data), 1, side, side))
            _write(folder / "ignored.npy", list(indices), batch.ignored.numpy())
        new = [n for n, i in enumerate(indices) if i in row]
        if new:
            found = _features(model, batch.images[new], precision)
            _write(folder / "features.npy", [row[indices[n]] for n in new], found)
        progress("features", indices.stop, len(data))


def _side(model: VLSM, data: AnyData) -> int:
    height, width = data[0].image.shape[-2:]
    side = model.input_size(height, width)
    if (height, width) != (side, side):
        raise ValueError(
            f"Expected samples at the network's input size, {side} x {side} pixels, got {height} x "
            f"{width}; load the data with size={side}."
        )
    return side


@torch.no_grad()
def _features(model: VLSM, images: Tensor, precision: Precision) -> NDArray[np.float16]:
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
        pixels = model.to_network(images.to(model.device))
        taps = model.net.clip.vision_model(pixels, model.net.config.extract_layers)
    stacked = torch.stack(taps, dim=1)
    if not bool((stacked.abs() <= torch.finfo(torch.float16).max).all()):
        raise FloatingPointError("A hidden state is not finite, or too large for half precision.")
    half: NDArray[np.float16] = stacked.half().cpu().numpy()
    return half


# The file is mapped again for every access. If it stayed mapped, all pages read so far would count
# as memory of this process.
def _make(path: Path, kind: Any, shape: tuple[int, ...]) -> None:
    np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)


def _write(path: Path, rows: list[int], values: NDArray[Any]) -> None:
    np.load(path, mmap_mode="r+")[rows] = values


def _read(path: Path, row: int) -> Tensor:
    return torch.from_numpy(np.array(np.load(path, mmap_mode="r")[row]))


def _describe(model: VLSM, data: AnyData, precision: Precision) -> str:
    made = f"{model.base_hash} {model.preprocessing} {_side(model, data)} {precision}"
    digest = sha256(made.encode())
    for case in data.cases:
        digest.update(f"{case.dataset} {case.split} {case.image_name} {case.key}".encode())
    digest.update(data.mask_rules.encode())
    return digest.hexdigest()


def _is_complete(folder: Path, described: dict[str, str]) -> bool:
    path = folder / "features.json"
    return path.is_file() and read_json(path) == described


def _image(case: Case) -> str:
    return f"{case.dataset}/{case.split}/{case.image_name}"
