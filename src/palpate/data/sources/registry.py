"""Registry of the data sets that palpate loads by name. To add one, add an entry here."""

import re
from functools import partial
from pathlib import PurePosixPath

from palpate.data.dataset import DatasetSpec
from palpate.data.patients import patient_or_name
from palpate.data.phantoms import PHANTOMS
from palpate.data.sources.cards import CARDS
from palpate.plugins import Registry

_CAMUS_STRUCTURES = {"mask_1": "left ventricle", "mask_2": "myocardium", "mask_3": "left atrium"}


def always(structure: str, mask_name: str) -> str:
    """Return ``structure`` for any mask, for data sets with a single structure."""
    del mask_name
    return structure


def _heart(mask_name: str) -> str:
    first = PurePosixPath(mask_name).parts[0]
    if first not in _CAMUS_STRUCTURES:
        raise ValueError(
            f"Expected a CAMUS mask under {', '.join(_CAMUS_STRUCTURES)}, got {mask_name!r}."
        )
    return _CAMUS_STRUCTURES[first]


def _first_folder(mask_name: str) -> str:
    parts = PurePosixPath(mask_name).parts
    return parts[0] if len(parts) > 1 else "foreground"


def _patient(image_name: str) -> str:
    found = re.search(r"patient\d+", image_name)
    if found is None:
        raise ValueError(f"Expected 'patient' and a number in a name, got {image_name!r}.")
    return found.group()


def _finding(mask_name: str) -> str:
    found = re.search(r"_(?:frontal|lateral)_(.+)$", PurePosixPath(mask_name).stem)
    if found is None:
        raise ValueError(
            "Expected a CheXlocalize mask named after its view and a finding "
            f"(..._frontal_edema.png), got {mask_name!r}."
        )
    return found[1].replace("_", " ")


def _same(name: str, folder: str, structure: str) -> DatasetSpec:
    """Properties of a data set with one structure; patients are derived from file names."""
    return DatasetSpec(
        name, folder, partial(always, structure), patient_or_name, CARDS[name].citation
    )


# No lambdas, since they could not be pickled for the worker processes of a loader.
_DATASETS = {
    "kvasir": _same("kvasir", "kvasir_polyp", "polyp"),
    "clinicdb": _same("clinicdb", "clinicdb_polyp", "polyp"),
    "bkai": _same("bkai", "bkai_polyp", "polyp"),
    "cvc300": _same("cvc300", "cvc300_polyp", "polyp"),
    "colondb": _same("colondb", "colondb_polyp", "polyp"),
    "etis": _same("etis", "etis_polyp", "polyp"),
    "pranet": _same("pranet", "pranet", "polyp"),
    "isic": _same("isic", "isic", "skin lesion"),
    "isic2017": _same("isic2017", "isic2017", "skin lesion"),
    "isic2018": _same("isic2018", "isic2018", "skin lesion"),
    "dfu": _same("dfu", "dfu", "foot ulcer"),
    "camus": DatasetSpec(
        "camus", "camus", _heart, _patient, CARDS["camus"].citation, mirrors=False
    ),
    "busi": _same("busi", "busi", "breast tumour"),
    "chexlocalize": DatasetSpec(
        "chexlocalize",
        "chexlocalize",
        _finding,
        _patient,
        CARDS["chexlocalize"].citation,
        mirrors=False,
    ),
    "folder": DatasetSpec("folder", "", _first_folder, patient_or_name),
    **{name: modality.spec for name, modality in PHANTOMS.items()},
}

DATASETS: Registry[DatasetSpec] = Registry("DATASETS", _DATASETS)
