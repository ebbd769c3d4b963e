"""The kinds of phantoms. A new one is an entry here."""

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
    """What is in a phantom, at no particular size."""

    @property
    def asked(self) -> Sequence[Any]:
        """Attributes of each thing that the scene can be asked for."""
        ...

    def mask(self, number: int, canvas: Canvas) -> Region:
        """Where one of these things is."""
        ...


@dataclass(frozen=True)
class Modality:
    """How phantoms of a kind are made.

    Attributes:
        spec: As every data set has one.
        scene: Draws what there is.
        paint: Makes a picture of it.
        prompts: Texts by level for one of the things that a scene can be asked for.
        appearances: Ways to record a scene; the first is the usual one.
    """

    spec: DatasetSpec
    scene: Callable[[np.random.Generator], Scene]
    paint: Callable[[Any, Canvas, Any, np.random.Generator], Colours]
    prompts: Callable[[Sequence[Any], int], dict[str, tuple[str, ...]]]
    appearances: Mapping[str, Any]


def _structure(mask_name: str) -> str:
    return PurePosixPath(mask_name).parts[0].replace("_", " ")


def _scene(image_name: str) -> str:
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
