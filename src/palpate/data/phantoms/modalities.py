"""Registry of phantom modalities. To add one, add an entry to ``PHANTOMS``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol, runtime_checkable

import numpy as np

from palpate.data.dataset import DatasetSpec
from palpate.data.phantoms.canvas import Canvas, Colours, Region
from palpate.data.phantoms.dermatoscope import DERMATOSCOPES, paint_dermoscopy
from palpate.data.phantoms.dermoscopy import random_dermoscopy
from palpate.data.phantoms.echo import random_echo
from palpate.data.phantoms.endoscope import ENDOSCOPES, paint_endoscopy
from palpate.data.phantoms.endoscopy import random_endoscopy
from palpate.data.phantoms.scanner import SCANNERS, paint_echo
from palpate.data.phantoms.wording import heart_prompts, lesion_prompts

APPEARANCE_MARK = "@"  # between the name of a scene and an appearance other than the first


@runtime_checkable
class Scene(Protocol):
    """Content of a phantom, independent of the image size."""

    @property
    def asked(self) -> Sequence[Any]:
        """Attributes of each structure that a prompt can refer to."""
        ...

    def mask(self, number: int, canvas: Canvas) -> Region:
        """Mask of one of these structures, (h, w).

        Args:
            number: Index of the structure in ``asked``.
            canvas: Pixel grid of the mask.
        """
        ...


@dataclass(frozen=True)
class Modality:
    """Functions and settings that make the phantoms of one modality.

    Attributes:
        spec: Properties of the data set.
        scene: Samples a scene.
        paint: Renders a scene as an image (3, h, w) in [0, 1].
        prompts: Texts by level for one structure of a scene, given the attributes of all.
        appearances: Settings of the instrument by name; the first is the default.
    """

    spec: DatasetSpec
    scene: Callable[[np.random.Generator], Scene]
    paint: Callable[[Any, Canvas, Any, np.random.Generator], Colours]
    prompts: Callable[[Sequence[Any], int], dict[str, tuple[str, ...]]]
    appearances: Mapping[str, Any]


# Named functions, since lambdas could not be pickled for worker processes.
def _structure(mask_name: str) -> str:
    return PurePosixPath(mask_name).parts[0].replace("_", " ")


def _scene(image_name: str) -> str:
    """Group of an image: its scene, since the same scene may be imaged in several appearances."""
    return PurePosixPath(image_name).stem.split(APPEARANCE_MARK)[0]


def _spec(name: str, mirrors: bool = True) -> DatasetSpec:
    return DatasetSpec(name, "", _structure, _scene, mirrors=mirrors)


PHANTOMS = {
    "phantom-endoscopy": Modality(
        _spec("phantom-endoscopy"), random_endoscopy, paint_endoscopy, lesion_prompts, ENDOSCOPES
    ),
    "phantom-dermoscopy": Modality(
        _spec("phantom-dermoscopy"),
        random_dermoscopy,
        paint_dermoscopy,
        lesion_prompts,
        DERMATOSCOPES,
    ),
    "phantom-echo": Modality(
        _spec("phantom-echo", mirrors=False), random_echo, paint_echo, heart_prompts, SCANNERS
    ),
}
