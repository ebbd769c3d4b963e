"""Load networks with transformers from folders in Hugging Face's layout, and check the weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from palpate.models.clipseg.load import processor_values
from palpate.models.files.weights import check_keys
from palpate.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, channels_of


@dataclass(frozen=True)
class Kind:
    """A type of network in transformers.

    Attributes:
        network: Name of its class in transformers.
        licence: Licence of the published weights.
        mean: Default mean of each channel, if the folder has no image processor.
        std: Default standard deviation of each channel, if the folder has no image processor.
        padded: Whether images keep their aspect ratio, see :class:`Canvas`.
    """

    network: str
    licence: str
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    padded: bool = False


def read_network(folder: Path, kind: Kind) -> Any:
    """Load the network in a folder, frozen, in evaluation mode and in float32.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the installed transformers has no such network, or the weights do not fit.
    """
    import transformers  # takes seconds to import

    made = getattr(transformers, kind.network, None)
    if made is None:
        raise ValueError(
            f"{folder} cannot be loaded: transformers {transformers.__version__} has no "
            f"{kind.network}. Install a later one (pip install -U transformers)."
        )
    try:
        # Fork the generator, so that loading a model leaves the global random state unchanged.
        with _quietly(), torch.random.fork_rng(devices=[]):
            net, told = made.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
    except FileNotFoundError:
        raise
    except Exception as error:  # transformers raises many types: configuration, shapes, files
        raise ValueError(f"{folder} cannot be loaded: {error}") from error
    _check(told, folder)
    return net.requires_grad_(False).eval()


def read_preprocessing(folder: Path, kind: Kind, side: int) -> Preprocessing:
    """Read mean and standard deviation from the folder's image processor; defaults from ``kind``.

    Args:
        folder: Folder of the model.
        kind: Type of the network.
        side: Side of the network's square input, in pixels.

    Raises:
        ValueError: If they are not three numbers each, or a standard deviation is not positive.
    """
    values = processor_values(folder)
    return Preprocessing(side, *channels_of(values, folder, kind.mean, kind.std))


def side_of(size: Any, folder: Path) -> int:
    """Read the side of the square input from the size in a configuration, in pixels.

    Raises:
        ValueError: If the input is not square.
    """
    sides = {int(side) for side in (size if isinstance(size, list | tuple) else [size])}
    if len(sides) != 1:
        raise ValueError(f"Expected the network of {folder} to take squares, got {size}.")
    return sides.pop()


def _check(told: Mapping[str, Any], folder: Path) -> None:
    wrong = sorted(str(each) for each in told.get("mismatched_keys", ()))
    if wrong:
        raise ValueError(
            f"The weights of {folder} have other shapes than its configuration says "
            f"({len(wrong)} tensors): {'; '.join(wrong[:10])}."
        )
    check_keys(told["missing_keys"], told["unexpected_keys"], str(folder))


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence transformers while loading; unfitting weights are raised as errors instead."""
    from transformers.utils import logging as theirs

    logging: Any = theirs  # parts of it are untyped
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
