"""Opens a run folder so that its run can be repeated: from its own copies, wherever it lies."""

import os
import shlex
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from palpate.data import PromptedDataset
from palpate.data.digests import changes, digests
from palpate.data.load import ROOT_VARIABLE
from palpate.data.sources.hugging_face import PREFIX as HF
from palpate.data.sources.hugging_face import parse_name
from palpate.located import relocated
from palpate.models.families import family_by_name
from palpate.pipeline.recipe.config import DataConfig, ModelConfig, RunConfig
from palpate.pipeline.run.run import config_of
from palpate.pipeline.run_folder.folder import read_evaluations
from palpate.pipeline.run_folder.sources import (
    FOLDER,
    Sources,
    changed_sources,
    hash_of,
    read_sources,
    texts_in,
)
from palpate.user_code import is_code


@dataclass(frozen=True)
class Elsewhere:
    """Places of what a run folder does not contain, if they are not where the run had them.

    Attributes:
        root: Folder that holds the data sets (``data.root``).
        images: Image folder of the data set ``pairs``.
        masks: Mask folder of the data set ``pairs``.
        model: Name or place of the model (``model.name``).
        checkpoint: Folder of the trained weights.
        device: Device of the model.
    """

    root: Path | None = None
    images: Path | None = None
    masks: Path | None = None
    model: str | None = None
    checkpoint: Path | None = None
    device: str | None = None


AS_THEY_WERE = Elsewhere()


@contextmanager
def opened(
    folder: Path, elsewhere: Elsewhere = AS_THEY_WERE, *, stays: bool = False
) -> Iterator[RunConfig]:
    """Yield the settings of a run; while it is open, its code is loaded from its own copies.

    Args:
        folder: Run folder.
        elsewhere: Places of data and weights that are not where the run had them.
        stays: Whether the current folder stays what it is. Otherwise it is that of the copies,
            because code may open files by their names alone.

    Raises:
        FileNotFoundError: If the folder is no run folder, or a file is missing that the run used.
        ValueError: If the copies in the folder are not what the run used.
    """
    folder = folder.resolve()
    config, kept = config_of(folder), read_sources(folder)
    if wrong := changed_sources(folder):
        raise ValueError(
            f"{', '.join(str(folder / place) for place in wrong)} changed since the run or is "
            f"missing; {folder / 'sources.json'} has its hash. Restore it. Nothing was run."
        )
    for package, version in kept.packages.items():
        if find_spec(package) is None:
            raise FileNotFoundError(
                f"The run used code of the package {package} {version}, which is not installed."
            )
    places = {name: folder / place for name, place in kept.files.items()}
    places |= dict(_large_files(kept, folder))
    places |= dict(_folders(config, elsewhere, kept, folder))
    here = replace(
        config,
        data=_data(config.data, elsewhere, kept, folder),
        model=_model(config.model, elsewhere, kept, folder),
    )
    code = folder / FOLDER
    place = code if code.is_dir() and not stays else Path.cwd()
    with relocated(places, [code]), chdir(place):
        yield here


def evaluations_of(config: RunConfig, folder: Path) -> list[RunConfig]:
    """The evaluations that made the rows of a run: that of its recipe, and those added later."""
    from palpate.pipeline.run.run import added

    return [config, *(added(config, *_words(line)) for line in read_evaluations(folder))]


def added_later(folder: Path) -> list[tuple[tuple[str, ...] | None, tuple[float, ...] | None]]:
    """Attacks and radii of the evaluations that were added to a run."""
    return [_words(line) for line in read_evaluations(folder)]


def check_data(data: PromptedDataset, role: str, folder: Path) -> None:
    """Compare a data set with that of a run.

    Args:
        data: The data set.
        role: What it is in the run: ``attacked``, ``train`` or ``val``.
        folder: Run folder.

    Raises:
        ValueError: If samples are missing, were added or changed; the message names them.
    """
    before = read_sources(folder).data.get(role)
    if before and (differing := changes(before, digests(data))):
        raise ValueError(
            f"These are not the data of the run in {folder}: of {len(before)} samples of "
            f"{data.spec.name} ({data.split}), {differing}. Its sources.json has the hash of each. "
            "Restore them, or name the folder that holds them with --data.root. Nothing was run."
        )


def _words(command: str) -> tuple[tuple[str, ...] | None, tuple[float, ...] | None]:
    """Attacks and radii of a command ``palpate evaluate --run . --attacks ...``."""
    given: dict[str, list[str]] = {}
    option = ""
    for word in shlex.split(command):
        if word.startswith("--"):
            option = word
            given[option] = []
        elif option:
            given[option].append(word)
    attacks, radii = given.get("--attacks"), given.get("--epsilon-255")
    return (
        None if attacks is None else tuple(attacks),
        None if radii is None else tuple(map(float, radii)),
    )


def _large_files(kept: Sources, folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a run that were too large to be copied, as they lie where it was started."""
    for name, told in kept.hashes.items():
        if name.startswith(f"{FOLDER}/"):
            continue
        place = _found(name, kept, folder)
        if place is None:
            raise FileNotFoundError(
                f"The run used the file {name} (SHA-256 {told}), which was too large to copy. Put "
                f"it at {folder / kept.working_folder / name}."
            )
        if hash_of(place) != told:
            raise ValueError(f"{place} is not the file {name} of the run, SHA-256 {told}.")
        yield name, place


def _folders(
    config: RunConfig, elsewhere: Elsewhere, kept: Sources, folder: Path
) -> Iterator[tuple[str, Path]]:
    """Folders that a recipe names: of Hugging Face data sets, and of models that are options."""
    for name in (config.data.name, config.data.test_name or ""):
        if name.startswith(HF):
            named, _ = parse_name(name)
            below = elsewhere.root / named if elsewhere.root else None
            place = below if below and below.is_dir() else _found(named, kept, folder)
            if place is not None:
                yield named, place.absolute()
    for text in texts_in(config):
        place = None if is_code(text) or Path(text).is_absolute() else _found(text, kept, folder)
        if place is not None and place.is_dir():
            yield text, place


def _data(wanted: DataConfig, elsewhere: Elsewhere, kept: Sources, folder: Path) -> DataConfig:
    images, masks = (
        given or (None if path is None else _found(path, kept, folder) or path)
        for given, path in ((elsewhere.images, wanted.images), (elsewhere.masks, wanted.masks))
    )
    for option, place in (("images", images), ("masks", masks)):
        if place is not None and not place.exists():
            raise FileNotFoundError(
                f"The run read its {option} from {place}, which is not there. Name their folder "
                f"with --data.{option}. Nothing was run."
            )
    return replace(
        wanted,
        root=_absolute(elsewhere.root or _root(wanted, kept, folder)),
        images=_absolute(images),
        masks=_absolute(masks),
        cache=None,  # changes no row, and was a folder of another machine
    )


def _root(wanted: DataConfig, kept: Sources, folder: Path) -> Path | None:
    if wanted.root is not None:
        return _found(wanted.root, kept, folder) or wanted.root
    if given := os.environ.get(ROOT_VARIABLE):
        return Path(given)
    return _found("data", kept, folder)


def _model(wanted: ModelConfig, elsewhere: Elsewhere, kept: Sources, folder: Path) -> ModelConfig:
    name, checkpoint, build = wanted.name, elsewhere.checkpoint or wanted.checkpoint, wanted.build
    if elsewhere.model is not None:
        given = Path(elsewhere.model)
        name = str(given.absolute()) if given.exists() else elsewhere.model
    elif name is not None and not is_code(name) and family_by_name(name) is None:
        name = str(_found(name, kept, folder) or name)
    if elsewhere.checkpoint is None and checkpoint is not None:
        checkpoint = _found(checkpoint, kept, folder) or checkpoint
    if build is not None:
        backbone, tokenizer = (
            _found(path, kept, folder) or path for path in (build.backbone, build.tokenizer)
        )
        cache = build.cache.absolute()
        build = replace(build, backbone=backbone, tokenizer=tokenizer, cache=cache)
    return replace(
        wanted,
        name=name,
        build=build,
        checkpoint=_absolute(checkpoint),
        device=elsewhere.device or wanted.device,
    )


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _found(name: str | Path, kept: Sources, folder: Path) -> Path | None:
    """A file or folder of the recipe, where the run was started, if it is still there."""
    place = (folder / kept.working_folder / name).resolve()
    return place if place.exists() else None
