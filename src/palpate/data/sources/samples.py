"""Data sets from samples in memory: a list, a PyTorch data set or any other indexable object."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from palpate.data.annotations import check_limit, check_split
from palpate.data.dataset import DatasetSpec, PromptedDataset, describe_entry
from palpate.data.patients import patient_or_name
from palpate.data.problems import refuse
from palpate.data.prompt_policy import PromptPolicy, check_levels
from palpate.data.reading.decode import ignored_from, pair_from
from palpate.data.reading.files import UnclearMask, naming, opened
from palpate.data.reading.mask_values import BINARY, MaskRule, Structure, Values, structures_of
from palpate.data.reading.masks import count_values
from palpate.data.reading.prefetch import Samples
from palpate.data.sample import Sample
from palpate.data.sources.registry import always
from palpate.data.structures import only_present, refuse_unclear, structures_shown

SAMPLES = "samples"

_LEVEL = "p1"
_FIELDS = ("image", "mask", "prompts", "key", "group", "structure")


@dataclass(frozen=True, eq=False)
class OwnEntry:
    """An element of a user's sequence: metadata, and a function that returns its pixels.

    Attributes:
        image_name: Name of the image.
        mask_name: Name of the mask, which is also the key.
        prompts: Texts by level; a level may have several phrasings.
        group: Patient; None to derive it from the name of the image.
        structure: Structure that the mask outlines; None for that of the data set.
        pixels: Returns image, mask and ignored pixels (or None), in any format that
            :func:`from_samples` accepts.
        rule: How the values of the mask are read.
        has_ignored: Whether ``pixels`` returns ignored pixels.
    """

    image_name: str
    mask_name: str
    prompts: Mapping[str, tuple[str, ...]]
    group: str | None
    structure: str | None
    pixels: Callable[[], tuple[Any, Any, Any]]
    rule: MaskRule = BINARY
    has_ignored: bool = False

    def __repr__(self) -> str:
        return describe_entry(self)

    @property
    def key(self) -> str:
        return self.mask_name

    def read(self, size: int | None) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
        """Decode the image, (3, h, w) in [0, 1], and its mask, (1, h, w).

        Args:
            size: Side of the square that both are resized to, in pixels; None for their own size.
        """
        with naming(f"sample {self.key!r}"):
            image, mask, _ = self.pixels()
            return _pair(image, mask, size, self.rule)

    def read_ignored(self, size: int | None) -> Bool[Tensor, "1 h w"] | None:
        """Pixels that count in no loss, attack or metric, (1, h, w); None if all count."""
        if not (self.has_ignored or self.rule.ignore):  # so that the sample is not asked for twice
            return None
        with naming(f"sample {self.key!r}"):
            image, mask, ignored = self.pixels()
            if ignored is not None:
                return _pair(image, ignored, size)[1]
            return _ignored(image, mask, size, self.rule)

    def count_values(self) -> Counter[str]:
        """Number of pixels of each value of the mask."""
        with naming(f"sample {self.key!r}"):
            _, mask, _ = self.pixels()
            with _opened(_picture(mask, is_mask=True)) as drawing:
                return count_values(drawing)


def from_samples(
    samples: Sequence[Any] | Samples,
    *,
    name: str = SAMPLES,
    split: str = "test",
    size: int | None = None,
    prompt: str = "random",
    override_prompt: str | None = None,
    structure: str = "foreground",
    mirrors: bool = True,
    seed: int = 0,
    limit: int | None = None,
    values: Values = None,
    ignore: Values = None,
) -> PromptedDataset:
    """Make a data set from samples in memory, or from any object with a length and an index.

    Each element is a :class:`Sample` or a mapping with

    - ``image``: a PIL image, the path of one, an array (h, w) or (h, w, 3) of 8-bit integers or of
      floats in [0, 1], or a tensor (3, h, w) or (1, h, w) of the same types;
    - ``mask``: the same types, or booleans, or whole numbers of any type; read like the mask of a
      folder, see :mod:`palpate.data.reading.masks`;
    - ``prompts``: one text, a list of phrasings, or a mapping from levels (``p1``, ``p2`` ...) to
      either; not needed if ``values`` names the structures;
    - optionally ``key`` (by default the index), ``group`` (the patient), ``structure``, and
      ``ignored``: pixels that count in no loss, attack or metric, in the types of ``mask``.

    Every element is read once now, so that errors are found early, and again whenever its pixels
    are needed.

    Args:
        samples: The samples; must support ``len`` and indices from 0.
        name: Name of the data set in every results table.
        split: Name of the split: ``train``, ``val``, ``test`` or ``all``.
        size: Side of the square that samples are resized to, in pixels; by default each keeps its
            own size.
        prompt: A level such as ``p3``, ``random`` or ``all``; see :class:`PromptPolicy`.
        override_prompt: One text for every sample, instead of its own prompts.
        structure: Structure that a mask outlines, if the sample does not name it.
        mirrors: Whether a mirrored image is still valid, see :class:`DatasetSpec`.
        seed: Seed of the prompts and of augmentation.
        limit: Use only the first ``limit`` samples.
        values: What the values of the masks mean, if these are not binary; see
            :func:`palpate.load_pairs`. Each structure of a sample becomes a sample, whose prompt
            is its name, or a text of the sample with ``{structure}`` filled in.
        ignore: Values of pixels that count in no loss, attack or metric, such as ``255``.

    Returns:
        The data set; pixels are read again when a sample is indexed.

    Raises:
        ValueError: If samples are not as described above; the problems are listed.
    """
    check_split(split)
    check_limit(limit)
    count = len(samples) if limit is None else min(limit, len(samples))
    if count < 1:
        raise ValueError(f"Expected at least one sample, got {count}.")
    structures = structures_of(values, ignore)
    found, problems = list[OwnEntry](), []
    for index in range(count):
        try:
            found += structures_shown([_entry(samples, index, structures)], structures)
        except ValueError as error:
            problems.append(f"sample {index}: {error}")
    refuse(problems, "Expected samples with an image, a mask and prompts")
    found = only_present(found, check_pixels(found), structures)
    spec = DatasetSpec(name, "", partial(always, structure), patient_or_name, mirrors=mirrors)
    return dataset_of(found, spec, split, size, PromptPolicy(prompt, override_prompt, seed))


def dataset_of(
    entries: Sequence[OwnEntry],
    spec: DatasetSpec,
    split: str,
    size: int | None,
    policy: PromptPolicy,
) -> PromptedDataset:
    """Make a data set of entries after checking keys and prompts.

    Args:
        entries: The entries.
        spec: Properties of the data set.
        split: ``train``, ``val`` or ``test``.
        size: Side of the square that samples are resized to, in pixels; None keeps their own size.
        policy: Chooses the prompts.

    Raises:
        ValueError: If two entries have the same key, or one has no text for the policy.
    """
    if size is not None and size < 1:
        raise ValueError(f"Expected size >= 1 pixel, got {size}.")
    counts = Counter(entry.key for entry in entries)
    refuse(
        [f"{key!r}: {n} times" for key, n in counts.items() if n > 1],
        f"Expected each key of {spec.name} once, got",
        remedy="Give every sample a key of its own, or none at all.",
    )
    check_levels(policy, {entry.key: entry.prompts for entry in entries}, spec.name)
    return PromptedDataset(spec, split, tuple(entries), policy, size)


def check_pixels(entries: Sequence[OwnEntry]) -> list[bool]:
    """Decode every sample once, to find damaged ones.

    Returns:
        Whether each mask has foreground.

    Raises:
        ValueError: If images or masks cannot be read or do not fit; the problems are listed.
        UnclearMasks: If masks are not binary and no rule says what their values mean.
    """
    problems, unclear, present = list[str](), list[UnclearMask](), list[bool]()
    for entry in entries:
        try:
            present.append(bool(entry.read(None)[1].any()))
        except UnclearMask as error:
            unclear.append(error)
        except ValueError as error:
            problems.append(str(error))
    refuse(problems, "Expected readable images with fitting masks")
    refuse_unclear(unclear)
    return present


def texts_of(prompts: Any) -> dict[str, tuple[str, ...]]:
    """Convert one text, a list of phrasings, or a mapping from levels to either, to texts by level.

    >>> texts_of("polyp"), texts_of({"p0": "", "p2": ["round polyp", "ball"]})
    ({'p1': ('polyp',)}, {'p0': ('',), 'p2': ('round polyp', 'ball')})

    Raises:
        ValueError: If ``prompts`` is none of these.
    """
    levels = prompts if isinstance(prompts, Mapping) else {_LEVEL: prompts}
    # In a table every row has a value for every level, which is None if the row lacks it.
    levels = {level: texts for level, texts in levels.items() if texts is not None}
    texts = {
        str(level): (value,) if isinstance(value, str) else tuple(value)
        for level, value in levels.items()
        if isinstance(value, str) or (isinstance(value, list | tuple) and value)
    }
    if not levels or texts.keys() < levels.keys() or not _all_texts(texts):
        raise ValueError(f"expected prompts to be texts, maybe by level, got {str(prompts)[:60]!r}")
    return texts


def _all_texts(texts: Mapping[str, tuple[Any, ...]]) -> bool:
    return all(isinstance(text, str) for phrasings in texts.values() for text in phrasings)


def _entry(samples: Any, index: int, structures: Sequence[Structure]) -> OwnEntry:
    sample = samples[index]
    if isinstance(sample, Sample):
        case = sample.case
        return OwnEntry(
            case.image_name,
            case.key,
            {case.prompt_level: (case.prompt,)},
            case.group,
            case.structure,
            partial(_of_sample, samples, index),
            has_ignored=sample.ignored is not None,
        )
    if not isinstance(sample, Mapping):
        raise ValueError(f"expected a Sample or a mapping, got {type(sample).__name__}")
    name = structures[0].name
    sample = sample if "prompts" in sample or not name else {**sample, "prompts": name}
    missing = [field for field in _FIELDS[:3] if field not in sample]
    if missing:
        raise ValueError(f"expected {', '.join(missing)}, got only {', '.join(map(str, sample))}")
    key = str(sample.get("key", f"{index:06d}"))
    group, structure = (
        None if sample.get(field) is None else str(sample[field])
        for field in ("group", "structure")
    )
    read = partial(_of_mapping, samples, index)
    has_ignored = sample.get("ignored") is not None
    texts = texts_of(sample["prompts"])
    return OwnEntry(key, key, texts, group, structure, read, has_ignored=has_ignored)


def _of_sample(samples: Samples, index: int) -> tuple[Any, Any, Any]:
    sample = samples[index]
    return sample.image, sample.mask, sample.ignored


def _of_mapping(samples: Any, index: int) -> tuple[Any, Any, Any]:
    sample = samples[index]
    return sample["image"], sample["mask"], sample.get("ignored")


def _ignored(
    image: Any, mask: Any, size: int | None, rule: MaskRule
) -> Bool[Tensor, "1 h w"] | None:
    """Pixels of a mask that its rule ignores, resized like the mask."""
    floats = _as_tensor(image)
    picture = _picture(image) if floats is None else Image.fromarray(floats[0].float().numpy())
    with _opened(picture) as opened_image, _opened(_picture(mask, is_mask=True)) as outline:
        return ignored_from(opened_image, outline, size, rule)


def _as_tensor(image: Any) -> Tensor | None:
    """A floating-point image as a tensor (c, h, w) on the CPU; None for other images."""
    if isinstance(image, np.ndarray) and np.issubdtype(image.dtype, np.floating):
        image = torch.from_numpy(image if image.ndim != 3 else np.moveaxis(image, -1, 0))
        image = image[None] if image.ndim == 2 else image
    is_float = isinstance(image, Tensor) and image.is_floating_point()
    return image.detach().cpu() if is_float else None


def _pair(
    image: Any, mask: Any, size: int | None, rule: MaskRule = BINARY
) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
    """Convert image and mask as if they came from files, including resizing and thresholds."""
    drawing = _picture(mask, is_mask=True)
    floats = _as_tensor(image)
    if floats is not None:
        return _tensor_pair(floats, drawing, size, rule)
    with _opened(_picture(image)) as picture, _opened(drawing) as outline:
        return pair_from(picture, outline, size, rule)


def _tensor_pair(
    image: Tensor, drawing: Any, size: int | None, rule: MaskRule
) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
    """Resize a float image channel by channel, since Pillow has no mode for floating-point RGB."""
    if image.ndim != 3 or len(image) not in (1, 3):
        raise ValueError(f"expected an image (3, h, w) or (1, h, w), got {tuple(image.shape)}")
    channels = [Image.fromarray(channel.float().cpu().numpy()) for channel in image]
    with _opened(drawing) as outline:
        pairs = [pair_from(channel, outline, size, rule) for channel in channels]
    pixels = torch.stack([pixels[0] for pixels, _ in pairs])
    return pixels.expand(3, -1, -1).contiguous(), pairs[0][1]


def _picture(value: Any, *, is_mask: bool = False) -> Any:
    """A PIL image, or the path of one."""
    if isinstance(value, Image.Image | str | Path):
        return value
    if isinstance(value, Tensor):
        value = _rows_first(value).numpy()
    array = np.asarray(value)
    if is_mask and array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
        array = array.reshape([n for n in array.shape if n != 1] or [1, 1])
    if is_mask:
        array = _numbers(array)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if is_mask and array.ndim == 2 and array.dtype == np.float32:
        return Image.fromarray(array)
    shape_fits = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))
    if not shape_fits or array.dtype not in (np.uint8, np.uint16) or not array.size:
        raise ValueError(
            f"expected {'a mask (h, w)' if is_mask else 'an image (h, w) or (h, w, 3)'} of 8 bits, "
            f"got {array.dtype} {array.shape}"
        )
    return Image.fromarray(array)


def _rows_first(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return tensor.permute(1, 2, 0) if tensor.ndim == 3 and tensor.shape[0] == 3 else tensor


def _numbers(array: NDArray[Any]) -> NDArray[Any]:
    """A mask in a type that Pillow can hold: 8 or 16 bits for whole numbers, else 32-bit floats."""
    if array.dtype in (np.uint8, np.uint16) or not array.size:
        return array
    if np.issubdtype(array.dtype, np.floating):
        whole = bool((array == np.rint(array)).all())
        if not whole or array.min() < 0 or array.max() > 65535:
            return array.astype(np.float32)
    elif not (array.dtype == np.bool_ or np.issubdtype(array.dtype, np.integer)):
        return array
    if array.min() < 0 or array.max() > 65535:
        raise ValueError(
            f"expected a mask of values from 0 to 65535, got {array.min()} to {array.max()}"
        )
    return array.astype(np.uint8 if array.max() <= 255 else np.uint16)


def _opened(picture: Any) -> Any:
    return opened(Path(picture)) if isinstance(picture, str | Path) else _Borrowed(picture)


class _Borrowed:
    """A context manager that leaves closing the image to its owner."""

    def __init__(self, picture: Image.Image) -> None:
        self.picture = picture

    def __enter__(self) -> Image.Image:
        return self.picture

    def __exit__(self, *_: object) -> None:
        pass
