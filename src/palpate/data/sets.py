"""The data sets palpate knows by name. A new one is an entry here."""

import re
from functools import partial
from pathlib import PurePosixPath

from palpate.data.dataset import DatasetSpec
from palpate.data.phantoms import PHANTOMS

_CAMUS_STRUCTURES = {"mask_1": "left ventricle", "mask_2": "myocardium", "mask_3": "left atrium"}


def always(structure: str, mask_name: str) -> str:
    """What every mask outlines, where it is the same in all of them."""
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


def itself(image_name: str) -> str:
    """The group of an image of which no more is known."""
    return image_name


def _patient(image_name: str) -> str:
    found = re.search(r"patient\d+", image_name)
    if found is None:
        raise ValueError(f"Expected 'patient' and a number in a CAMUS name, got {image_name!r}.")
    return found.group()


# No lambdas: a data set must reach the worker processes of a loader.
DATASETS = {
    "kvasir": DatasetSpec(
        "kvasir",
        "kvasir_polyp",
        partial(always, "polyp"),
        itself,
        "Jha et al., 2020, https://arxiv.org/abs/1911.07069",
    ),
    "isic": DatasetSpec(
        "isic",
        "isic",
        partial(always, "skin lesion"),
        itself,
        "Gutman et al., 2016, https://arxiv.org/abs/1605.01397",
    ),
    "camus": DatasetSpec(
        "camus",
        "camus",
        _heart,
        _patient,
        "Leclerc et al., 2019, https://doi.org/10.1109/TMI.2019.2900516",
        mirrors=False,
    ),
    "busi": DatasetSpec(
        "busi",
        "busi",
        partial(always, "breast tumour"),
        itself,
        "Al-Dhabyani et al., 2020, https://doi.org/10.1016/j.dib.2019.104863",
    ),
    "folder": DatasetSpec("folder", "", _first_folder, itself),
    **{name: modality.spec for name, modality in PHANTOMS.items()},
}
