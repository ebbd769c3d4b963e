"""Keeps in the run folder what a run was made of, so that it can be repeated from there alone.

``sources/`` has copies of the user's code and of small files that the recipe names, and
``sources.json`` says which name in the recipe each belongs to, and hashes code, data and model.
``SHA256SUMS`` hashes the measurements themselves; ``sha256sum --check SHA256SUMS`` verifies it too.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from palpate.atomic import write_bytes, write_text
from palpate.data.digests import changes, digests
from palpate.located import located
from palpate.models import PixelModel
from palpate.pipeline.recipe.config import RunConfig
from palpate.pipeline.recipe.reading import plain
from palpate.pipeline.run_folder.code_files import (
    LARGEST,
    Found,
    code_files,
    installed_package,
    mirrored,
)
from palpate.pipeline.stages.preparation import Splits
from palpate.user_code import is_code, module_of
from palpate.version import release

FOLDER, FILE, SUMS, RECIPE = "sources", "sources.json", "SHA256SUMS", "recipe.yaml"

_FORMAT = 1
# What SHA256SUMS covers: what the run is made of and what it measured. Tables, figures and the page
# are written again from the rows at any time.
_MEASURED = (
    "config.yaml", FILE, RECIPE, "environment.json", "evaluations.json",
    f"{FOLDER}/**/*", "rows/*.parquet", "rows/protocol.json", "baseline/*.parquet",
    "baseline/protocol.json", "sound/*.parquet", "sound/protocol.json", "universal/*.safetensors",
    "checkpoint/weights.safetensors", "checkpoint/palpate.json",
)  # fmt: skip


@dataclass(frozen=True)
class Sources:
    """What a run was made of.

    Attributes:
        format: Version of this file.
        palpate: Version of palpate.
        working_folder: The folder in which the run was started, relative to the run folder.
        files: Copies in the run folder, by the names in the recipe.
        hashes: SHA-256 of every copy, and of files that were too large to copy by their names.
        packages: Versions of the installed packages whose code the recipe names.
        data: Digests of the samples by their role (attacked, train, val), see
            :func:`palpate.data.digests.digests`.
        model: Fingerprint of the weights before training (``weights``), by name.
    """

    format: int = _FORMAT
    palpate: str = field(default_factory=release)
    working_folder: str = "."
    files: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)


_SOURCES = TypeAdapter(Sources)


def keep_sources(
    config: RunConfig,
    splits: Splits,
    folder: Path,
    recipe: Path | None = None,
    started: str | None = None,
) -> None:
    """Copy the code and files that a recipe names into the run folder, and hash its data.

    Args:
        config: The settings of the run.
        splits: Its data.
        folder: The run folder; what an earlier call kept there stays.
        recipe: The recipe as the user wrote it.
        started: The folder in which the run was started, relative to the run folder; by default
            the current folder.

    Raises:
        ValueError: If there are rows that were made with other code or other data.
    """
    before = read_sources(folder) if (folder / FILE).is_file() else Sources()
    copies, packages = _copies(config)
    data = _data(splits)
    if any((folder / "rows").glob("part-*.parquet")):
        _refuse_changes(before, copies, data, folder)
    for place, found in copies.items():
        if found.copied:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / place, found.file.read_bytes())
    if recipe is not None and recipe.is_file():
        write_bytes(folder / RECIPE, recipe.read_bytes())
    named = {found.name: place for place, found in copies.items() if found.name and found.copied}
    hashes = {
        place if found.copied else found.name: hash_of(found.file)
        for place, found in copies.items()
    }
    now = Sources(
        working_folder=started or PurePosixPath(os.path.relpath(Path.cwd(), folder)).as_posix(),
        files={**before.files, **named},
        hashes={**before.hashes, **hashes},
        packages={**before.packages, **packages},
        data={**before.data, **data},
        model=before.model,
    )
    _write(now, folder)


def code_is_here(name: str, folder: Path) -> bool:
    """Whether code that a recipe names lies where it says, from the current folder.

    Raises:
        ValueError: If it does, and is not that of the run.
    """
    try:
        copies, _ = _code_copies([name])
    except FileNotFoundError:
        return False
    _refuse_changes(read_sources(folder), copies, {}, folder)
    return True


def keep_model(model: PixelModel, folder: Path) -> None:
    """Record the weights that a model was loaded with."""
    before = read_sources(folder)
    values = asdict(before) | {"model": {"name": model.name, "weights": model.base_hash}}
    _write(_SOURCES.validate_python(values), folder)


def read_sources(folder: Path) -> Sources:
    """Read what a run was made of.

    Raises:
        FileNotFoundError: If the run folder does not say so.
        ValueError: If the file is damaged, or from another version.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no {FILE}, which says what its rows were made of. It is not a run "
            "folder, or one of an earlier version of palpate, which kept no copies of the code; "
            "give the `palpate run` command again where the run was made, to add it."
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found: Sources = _SOURCES.validate_python(values)
    except (ValueError, ValidationError) as error:
        raise ValueError(f"{path} is damaged: {error}. Restore it from a copy.") from error
    if found.format != _FORMAT:
        raise ValueError(
            f"Expected format {_FORMAT} in {path}, got {found.format}: the run was made by palpate "
            f"{found.palpate}, this is {release()}. Repeat it with that version."
        )
    return found


def changed_sources(folder: Path) -> list[str]:
    """Copies of code and files in a run folder that are missing or not as the run used them."""
    kept = read_sources(folder)
    copies = {place: kept.hashes[place] for place in kept.hashes if place.startswith(f"{FOLDER}/")}
    return [place for place, told in copies.items() if _sum_or_none(folder / place) != told]


def seal(folder: Path) -> None:
    """Write the hashes of all measurements of a run folder to ``SHA256SUMS``.

    A part of the rows is written once and never again, so its first hash stays: sealing a folder
    again does not hide that a part was changed in between.
    """
    before = read_sums(folder)
    sums = {}
    for path in _measured(folder):
        name = path.relative_to(folder).as_posix()
        is_final = path.suffix == ".parquet" and name in before
        sums[name] = before[name] if is_final else hash_of(path)
    write_text(folder / SUMS, "".join(f"{told}  {name}\n" for name, told in sorted(sums.items())))


def read_sums(folder: Path) -> dict[str, str]:
    """Read ``SHA256SUMS`` of a run folder: hashes by file; empty if there is none."""
    path = folder / SUMS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pairs = (line.split("  ", 1) for line in lines if "  " in line)
    return {name: told for told, name in pairs}


def changed_files(folder: Path) -> list[str]:
    """Files that differ from ``SHA256SUMS``, are missing, or are not listed, each with how."""
    told = read_sums(folder)
    found = {path.relative_to(folder).as_posix(): path for path in _measured(folder)}
    lines = [f"{name} is missing" for name in told if not (folder / name).is_file()]
    lines += [
        f"{name} was changed"
        for name in found
        if name in told and hash_of(found[name]) != told[name]
    ]
    lines += [f"{name} was added" for name in found if told and name not in told]
    return sorted(lines)


def _copies(config: RunConfig) -> tuple[dict[str, Found], dict[str, str]]:
    """The files that a recipe names by their places in the run folder, and installed packages."""
    copies, packages = _code_copies(code_named(config))
    for name in dict.fromkeys(_files_named(config)):
        file = located(name)
        found = Found(name, file, copied=file.stat().st_size <= LARGEST)
        copies.setdefault(f"{FOLDER}/{mirrored(name)}", found)
    return copies, packages


def _code_copies(names: Iterable[str]) -> tuple[dict[str, Found], dict[str, str]]:
    copies: dict[str, Found] = {}
    packages: dict[str, str] = {}
    for name in dict.fromkeys(names):
        module, _ = module_of(name)
        if version := installed_package(module):
            packages[module.partition(".")[0]] = version
            continue
        for place, found in code_files(module):
            copies.setdefault(f"{FOLDER}/{place}", found)
    return copies, packages


def code_named(config: RunConfig) -> Iterator[str]:
    """The code that a recipe names: of the model, of attacks and losses, and of metrics."""
    wanted = config.evaluate
    attacks = plain(config)["evaluate"]["attacks"]  # the name of an entry may be the code itself
    told = (config.model.name, list(attacks), attacks, list(wanted.metrics or ()))
    return (text for text in _texts(told) if is_code(text))


def _files_named(config: RunConfig) -> Iterator[str]:
    """Files that are options of the model or of an attack, such as a perturbation."""
    for text in texts_in(config):
        if not is_code(text) and located(text).is_file():
            yield text


def texts_in(config: RunConfig) -> Iterator[str]:
    """Texts among the options of the model and of the attacks, some of which are paths."""
    values = plain(config)
    return _texts((values["model"]["options"], values["evaluate"]["attacks"]))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for each in value.values() for text in _texts(each))
    elif isinstance(value, list | tuple):
        yield from (text for each in value for text in _texts(each))


def _data(splits: Splits) -> dict[str, dict[str, str]]:
    found = {"attacked": digests(splits.attacked)}
    train, val = splits.taught or (splits.seen, None)
    for role, data in (("train", train), ("val", val)):
        if data is not None and data.redraw is None:  # phantoms are drawn anew in every epoch
            found[role] = digests(data)
    return found


def _refuse_changes(
    before: Sources, copies: Mapping[str, Found], data: Mapping[str, Any], folder: Path
) -> None:
    """Refuse to add rows of other code or data; a store hashes neither imports nor pixels."""
    for place, found in copies.items():
        told = before.hashes.get(place if found.copied else found.name)
        if told is not None and told != hash_of(found.file):
            raise ValueError(
                f"{found.file} was changed since the rows in {folder} were made ({told[:12]} then, "
                f"{hash_of(found.file)[:12]} now). Restore it from {folder / place}, put "
                "the new code into a file of its own, or choose another --out."
            )
    for role, now in data.items():
        if role in before.data and (differing := changes(before.data[role], now)):
            raise ValueError(
                f"The data were changed since the rows in {folder} were made; {role}: "
                f"{differing}. Restore them, or choose another --out."
            )


def _write(sources: Sources, folder: Path) -> None:
    write_text(folder / FILE, json.dumps(asdict(sources), indent=2, sort_keys=True) + "\n")


def _measured(folder: Path) -> list[Path]:
    found = {path for pattern in _MEASURED for path in folder.glob(pattern) if path.is_file()}
    return sorted(path for path in found if "__pycache__" not in path.parts)


def _sum_or_none(path: Path) -> str | None:
    return hash_of(path) if path.is_file() else None


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
