"""Predictions of a model for images without masks, written as PNG files."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torch.nn import functional as F

from palpate.atomic import remove_leftovers, replacing
from palpate.data.problems import refuse
from palpate.data.reading.decode import read_image, try_decoding
from palpate.data.reading.files import naming, opened
from palpate.data.reading.orientation import orientation, upright_size
from palpate.data.sources.pairs import pictures_in, refuse_namesakes
from palpate.evaluation.batches import BATCH_SIZE, windows
from palpate.evaluation.frozen import device_of, frozen, threshold_of
from palpate.evaluation.image_scores import checked_logits
from palpate.evaluation.results.describe import describe_model, hash_weights
from palpate.oom import Portions
from palpate.overlap import binarise
from palpate.progress import Progress, silent
from palpate.prompting import Bound, wants_boxes
from palpate.types import Segmenter

Probabilities: TypeAlias = Literal["none", "plain", "stretched"]
Enlarging: TypeAlias = Literal["bilinear", "nearest"]

MASKS, PROBABILITIES = "masks", "probabilities"
_TAG = "palpate"  # text in each file, by which a resumed prediction knows its own
_LONGEST = 60  # characters of a prompt in the name of its folder
_NO_PROMPT = ""


@dataclass(frozen=True)
class _Target:
    """The files to write for one image and one prompt, with tags of all that determines them."""

    image: Path
    prompt: str
    mask: Path
    probabilities: Path | None
    tags: Mapping[Path, str]


def predict(
    model: Segmenter,
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    prompts: Sequence[str] = (),
    size: int | None = None,
    probabilities: Probabilities = "none",
    enlarge: Enlarging = "bilinear",
    batch_size: int = BATCH_SIZE,
    progress: Progress = silent,
) -> list[Path]:
    """Predict the masks of images, and write them as PNG files of the size of the images.

    The mask of ``images/a.jpg`` is ``OUT/masks/a.png``, black and white (0 and 255). With several
    prompts, each has a folder of its own, such as ``OUT/masks/left-atrium/a.png``. Files are
    upright if the image has an EXIF orientation. An interrupted prediction resumes: files that the
    same model, settings and image have given are kept, and any other file is an error.

    Args:
        model: Called as ``model(images, prompts=[...])``, images in [0, 1]; see
            :func:`palpate.evaluate`.
        images: A folder, or image files.
        out: Output folder.
        prompts: Texts that say what to segment; needed if the model reads a prompt.
        size: Side of the square in pixels that images are resized to before the model sees them, as
            in a run. By default the model gets them in their own size.
        probabilities: ``"plain"`` also writes the probabilities, from 0 to 255, to
            ``OUT/probabilities``; ``"stretched"`` stretches those of each image to the whole range,
            as PraNet's test script does.
        enlarge: How predictions are enlarged with ``size``: ``"bilinear"`` enlarges the logits, as
            PraNet does, and ``"nearest"`` the finished mask, as MedVLSM does.
        batch_size: Maximum number of images per forward pass; halved automatically if GPU memory
            runs out.
        progress: Called after each batch.

    Returns:
        The mask files, image by image.

    Raises:
        FileNotFoundError: If there are no images.
        FileExistsError: If ``out`` has other files of these names.
        ValueError: If an image cannot be read, two have the same name, the prompts do not fit the
            model, or the model needs a box.
        FloatingPointError: If the model returns NaN or infinity.
    """
    _check_settings(size, probabilities, enlarge)
    files = _files(images)
    texts = _prompts(model, prompts)
    with frozen(model):
        made_of = {
            "weights": hash_weights(model), **describe_model(model), "size": size,
            "threshold": threshold_of(model), "enlarge": enlarge if size else None,
        }  # fmt: skip
        for folder in (MASKS, PROBABILITIES):
            remove_leftovers(Path(out) / folder)
        targets = list(_targets(files, texts, Path(out), probabilities, made_of))
        missing = _missing(targets)
        asked = _Predictor(model, size, probabilities == "stretched", enlarge)
        finished = len(targets) - len(missing)
        portions = Portions(batch_size)
        for window in windows(len(missing), batch_size):
            some = [missing[index] for index in window]
            portions.run(partial(asked.write, some), range(len(some)))
            finished += len(some)
            progress("predicting", finished, len(targets), some[-1].image.name)
    return [target.mask for target in targets]


@dataclass(frozen=True)
class _Predictor:
    """Predicts images and writes their files."""

    model: Segmenter
    size: int | None
    stretched: bool
    enlarge: Enlarging

    @torch.no_grad()
    def write(self, window: Sequence[_Target], places: Sequence[int]) -> list[Path]:
        """Write the files of some targets; images of one size are predicted together."""
        by_size: dict[tuple[int, ...], list[tuple[_Target, Tensor]]] = {}
        targets = [window[place] for place in places]
        for target in targets:
            image = read_image(target.image, self.size)
            by_size.setdefault(tuple(image.shape), []).append((target, image))
        for pairs in by_size.values():
            some, stack = [t for t, _ in pairs], torch.stack([image for _, image in pairs])
            stack = stack.to(device_of(self.model))
            bound = Bound(self.model, [target.prompt for target in some])
            logits = checked_logits(bound(stack), stack, [str(target.image) for target in some])
            for target, each in zip(some, logits.cpu(), strict=True):
                self._save(target, each)
        return [target.mask for target in targets]

    def _save(self, target: _Target, logits: Float[Tensor, "1 h w"]) -> None:
        with opened(target.image) as picture:
            width, height = upright_size(picture.size, orientation(picture))
        threshold = threshold_of(self.model)
        whole = _enlarged(logits, (height, width), "bilinear")
        if self.enlarge == "nearest":
            mask = _enlarged(binarise(logits, threshold).float(), (height, width), "nearest-exact")
        else:
            mask = binarise(whole, threshold).float()
        if target.probabilities is not None:
            shown = whole.sigmoid()
            if self.stretched:
                shown = shown - shown.min()
                shown = shown / (shown.max() + 1e-8)
            _write(shown, target.probabilities, target.tags)
        _write(mask, target.mask, target.tags)


def _enlarged(
    values: Float[Tensor, "1 h w"], size: tuple[int, int], mode: str
) -> Float[Tensor, "1 height width"]:
    if tuple(values.shape[1:]) == size:
        return values
    options = {"align_corners": False} if mode == "bilinear" else {}
    return F.interpolate(values[None], size, mode=mode, **options)[0]


def _write(values: Float[Tensor, "1 h w"], path: Path, tags: Mapping[Path, str]) -> None:
    """Write values in [0, 1] as an 8-bit grey PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngInfo()
    info.add_text(_TAG, tags[path])
    pixels = (values[0] * 255).round().to(torch.uint8).numpy()
    with replacing(path, tidy=False) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, "PNG", pnginfo=info)


def _check_settings(size: int | None, probabilities: str, enlarge: str) -> None:
    if size is not None and size < 1:
        raise ValueError(f"Expected size >= 1 pixel, got {size}.")
    for name, given, known in (
        ("probabilities", probabilities, get_args(Probabilities)),
        ("enlarge", enlarge, get_args(Enlarging)),
    ):
        if given not in known:
            raise ValueError(f"Expected {name} to be one of {', '.join(known)}, got {given!r}.")
    if enlarge == "nearest" and size is None:
        raise ValueError(
            "Expected a size with enlarge='nearest': without it the model gets and returns the "
            "size of the image, and nothing is enlarged."
        )


def _files(images: str | Path | Iterable[str | Path]) -> list[Path]:
    """The image files, all of which can be decoded and have different names."""
    if isinstance(images, str | Path):
        files = pictures_in(Path(images))
        where = f" in {images}"
    else:
        files, where = [Path(image) for image in images], ""
        refuse(
            [str(path) for path in files if not path.is_file()],
            "Expected these images, which are not there",
            FileNotFoundError,
        )
    if not files:
        raise FileNotFoundError(f"Expected images{where}, found none that Pillow reads.")
    refuse_namesakes(files, "Rename them, or else they would share one mask file.")
    refuse(
        [fault for path in files if (fault := _fault(path))],
        "Expected readable images",
        remedy="Replace these files, or take them away.",
    )
    return files


def _fault(path: Path) -> str:
    try:
        with opened(path) as picture, naming(path):
            try_decoding(picture)
    except ValueError as error:
        return str(error)
    return ""


def _prompts(model: object, prompts: Sequence[str]) -> list[str]:
    """The prompts, of which there is one without text if the model reads none."""
    name = getattr(model, "name", "the model")
    if isinstance(prompts, str):
        raise ValueError(f"Expected a list of prompts, got {prompts!r}; write [{prompts!r}].")
    if wants_boxes(model):
        raise ValueError(
            f"{name} is prompted with the box of the true mask, which images alone do not have. "
            "Use a model that reads a text or no prompt."
        )
    reads = getattr(model, "text_conditioned", None)
    if reads and not prompts:
        raise ValueError(
            f"Expected a prompt that says what {name} segments, got none. Give one or several: "
            "--prompts TEXT ..., predict(prompts=[...])."
        )
    if reads is False and len(prompts) > 1:
        raise ValueError(
            f"{name} reads no prompt, got {len(prompts)} prompts, whose masks would be the same."
        )
    empty = [text for text in prompts if not _folder(text)]
    folders = [_folder(text) for text in prompts]
    if empty or len({*folders}) < len(folders):
        raise ValueError(
            f"Expected prompts that differ in their words, got {', '.join(map(repr, prompts))}."
        )
    return list(prompts) or [_NO_PROMPT]


def _folder(prompt: str) -> str:
    """Name of the folder of a prompt: its words in lower case.

    >>> _folder("Left atrium, of the heart")
    'left-atrium-of-the-heart'
    """
    return re.sub(r"\W+", "-", prompt.lower()).strip("-")[:_LONGEST].strip("-")


def _targets(
    files: Sequence[Path],
    prompts: Sequence[str],
    out: Path,
    probabilities: Probabilities,
    made_of: dict[str, Any],
) -> Iterator[_Target]:
    for image in files:
        content = image.read_bytes()
        for prompt in prompts:
            place = Path(_folder(prompt) if len(prompts) > 1 else "") / f"{image.stem}.png"
            told = {**made_of, "prompt": prompt}
            digest = blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16)
            digest.update(content)
            mask, tags = out / MASKS / place, {out / MASKS / place: digest.hexdigest()}
            grey = None if probabilities == "none" else out / PROBABILITIES / place
            if grey is not None:
                tags[grey] = f"{digest.hexdigest()} {probabilities}"
            yield _Target(image, prompt, mask, grey, tags)


def _missing(targets: Sequence[_Target]) -> list[_Target]:
    """The targets that lack a file.

    Raises:
        FileExistsError: If a file is there that is not of the same prediction.
    """
    refuse(
        [
            str(path)
            for target in targets
            for path, tag in target.tags.items()
            if path.exists() and _tag_of(path) != tag
        ],
        "Expected no other files where predictions are to be written",
        FileExistsError,
        "They are of another model, image, prompt or setting, or not of palpate. Choose another "
        "output folder, or delete them.",
    )
    return [target for target in targets if not all(path.exists() for path in target.tags)]


def _tag_of(path: Path) -> str:
    try:
        with Image.open(path) as picture:
            return str(picture.info.get(_TAG, ""))
    except (OSError, ValueError, SyntaxError):
        return ""
