"""The model families: how each is recognised and loaded.

To add a family, write a loader in its own file or folder, a function from :class:`Request` to
:class:`PixelModel`, and register it in :data:`FAMILIES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from palpate.errors import did_you_mean
from palpate.models.biomedclip.load import is_biomedclip, load_biomedclip
from palpate.models.clipseg.load import load_clipseg
from palpate.models.clipseg.load_published import is_published, load_published
from palpate.models.cris.model import is_cris, load_cris
from palpate.models.exported.bundle import is_bundle, load_bundle
from palpate.models.exported.onnx import is_onnx, load_onnx
from palpate.models.exported.program import is_program, load_program
from palpate.models.exported.torchscript import is_torchscript, load_torchscript
from palpate.models.exported.weights import is_weights, refuse_without_network
from palpate.models.files.safe_pickle import describe_file
from palpate.models.files.weights import EMBEDDED, find_model, read_json
from palpate.models.pixel_model import PixelModel
from palpate.models.pranet import is_pranet, load_pranet
from palpate.models.promptable.loading import (
    GROUNDED,
    SAM3,
    SEGMENT_ANYTHING,
    load_grounded,
    load_sam3,
    load_segment_anything,
)
from palpate.models.request import Request
from palpate.models.wrap.monai import NETWORKS, load_plain
from palpate.models.wrap.smp import is_smp, load_smp
from palpate.models.wrap.user_code import load_external
from palpate.plugins import Registry
from palpate.user_code import is_code

# The family of files with weights that no other family reads; loading.py loads their network.
WEIGHTS = "weights"


@dataclass(frozen=True)
class Family:
    """A model family.

    Attributes:
        load: Creates the model on the CPU; only adapters require gradient.
        about: One-line description for tables.
        names: Names of models that need no files, such as ``monai/unet``, listed by
            ``palpate models``.
        claims: Returns whether a name that is not in ``names`` belongs to this family, for example
            because of its prefix.
        reads: Returns whether a folder or file is a model of this family. Only small files and
            tensor names are read.
        adapters: Whether the family supports adapters.
        finished: Whether its files are finished networks, which nothing trains unless the user
            asks for it.
    """

    load: Callable[[Request], PixelModel]
    about: str
    names: tuple[str, ...] = ()
    claims: Callable[[str], bool] = lambda _: False
    reads: Callable[[Path], bool] = lambda _: False
    adapters: bool = False
    finished: bool = False

    def knows(self, name: str) -> bool:
        """Whether a name belongs to this family; no files are read."""
        return name in self.names or self.claims(name)


def model_type(folder: Path) -> str | None:
    """The ``model_type`` in ``config.json``; None if there is no such file."""
    path = folder / "config.json"
    return str(read_json(path).get("model_type")) if path.is_file() else None


_FAMILIES: dict[str, Family] = {
    "pranet": Family(
        load_pranet,
        "PraNet: random weights, or a file of published weights",
        names=("pranet",),
        reads=is_pranet,
    ),
    "monai": Family(load_plain, "Networks of MONAI with random weights", names=tuple(NETWORKS)),
    "smp": Family(
        load_smp, "Networks of segmentation_models_pytorch, such as smp/Unet", claims=is_smp
    ),
    WEIGHTS: Family(
        refuse_without_network,
        "A state dict (.pt, .pth, .ckpt, .safetensors) of the network that option base names",
        finished=True,
    ),
    "external": Family(
        load_external, "Your own code: package.module:factory or file.py:factory", claims=is_code
    ),
    "torchscript": Family(
        load_torchscript,
        "A TorchScript file (.ts, .pt) of any network",
        reads=is_torchscript,
        finished=True,
    ),
    "torch.export": Family(
        load_program, "An archive of torch.export (.pt2)", reads=is_program, finished=True
    ),
    "onnx": Family(
        load_onnx,
        "An ONNX file (.onnx); needs onnx2fx and onnxruntime",
        reads=is_onnx,
        finished=True,
    ),
    "monai-bundle": Family(
        load_bundle,
        "The folder of a MONAI bundle with a 2-D network",
        reads=is_bundle,
        finished=True,
    ),
    "clipseg": Family(
        load_clipseg,
        "CLIPSeg in Hugging Face's layout: hub name or folder",
        names=tuple(EMBEDDED),
        reads=lambda place: model_type(place) == "clipseg",
        adapters=True,
    ),
    "clipseg-file": Family(
        load_published,
        "CLIPSeg in a file of VLSM-Adapter, MedVLSM or its authors, with option base",
        reads=is_published,
        adapters=True,
    ),
    "biomedclip": Family(
        load_biomedclip,
        "BiomedCLIP as open_clip publishes it, with CLIPSeg's decoder: hub name or folder",
        reads=is_biomedclip,
        adapters=True,
    ),
    "cris": Family(
        load_cris,
        "CRIS: folder made by convert_cris, or a community checkpoint (.pth)",
        reads=is_cris,
    ),
    "segment-anything": Family(
        load_segment_anything,
        "SAM, HQ-SAM or SAM 2 prompted with the box of the true mask: hub name or folder",
        reads=lambda place: model_type(place) in SEGMENT_ANYTHING,
    ),
    "sam3": Family(
        load_sam3,
        "SAM 3 prompted with text: hub name or folder",
        reads=lambda place: model_type(place) in SAM3,
    ),
    GROUNDED: Family(
        load_grounded,
        "Grounding DINO and a SAM: grounded-sam with options detector and segmenter",
        claims=lambda name: name == GROUNDED,
    ),
}

FAMILIES: Registry[Family] = Registry("FAMILIES", _FAMILIES)


def is_finished(name: str) -> bool:
    """Whether a name is a file or folder of a finished network, which nothing trains by default."""
    place = Path(name)
    if family_by_name(name) is not None or not place.exists():
        return False
    return _is_finished(place, place.stat().st_mtime_ns)


@lru_cache
def _is_finished(place: Path, _: int) -> bool:
    """Whether the family of a file or folder, at the time of its last change, is finished."""
    try:
        return FAMILIES[family_at(place)].finished
    except (ValueError, OSError):  # loading it says what is wrong
        return False


def find_family(name: str, *, revision: str | None = None) -> tuple[str, Path | None]:
    """Find the family and the files of a model.

    Args:
        name: Name, hub name, folder or file of a model.
        revision: Branch, tag or commit on the hub.

    Returns:
        The name of the family, and the folder or file of the model (None if it needs no files).

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If the folder or file belongs to no family.
    """
    known = family_by_name(name)
    if known is not None:
        return known, None
    place = find_place(name, revision)
    return family_at(place), place


def family_by_name(name: str) -> str | None:
    """The family of a model that needs no files; None if no family knows the name."""
    return next((key for key, family in FAMILIES.items() if family.knows(name)), None)


def family_at(place: Path) -> str:
    """The family of a folder or file.

    Raises:
        FileNotFoundError: If the folder has no ``config.json``.
        ValueError: If it belongs to no family.
    """
    found = next((key for key, family in FAMILIES.items() if family.reads(place)), None)
    if found is not None:
        return found
    if is_weights(place):
        return WEIGHTS
    raise ValueError(_unknown(place))


def known_names() -> list[str]:
    """The names of all models that need no files, grouped by family."""
    return [name for family in FAMILIES.values() for name in family.names]


def find_place(name: str, revision: str | None = None) -> Path:
    """The folder or file of a model, downloaded from the hub if necessary.

    Raises:
        FileNotFoundError: If there is no such model; the message suggests a similar known name.
    """
    try:
        return find_model(name, revision=revision)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}{did_you_mean(name, known_names())}") from error


def _unknown(place: Path) -> str:
    if place.is_dir():
        kind = read_json(place / "config.json").get("model_type")
        return (
            f"{place} cannot be loaded: Expected the configuration of a CLIPSeg (model_type "
            f"'clipseg') or of another family ({', '.join(FAMILIES)}), got model_type {kind!r}."
        )
    return (
        f"{place} cannot be loaded: Expected weights that a family of palpate reads from a file "
        f"({', '.join(FAMILIES)}), got {describe_file(place)}."
    )
