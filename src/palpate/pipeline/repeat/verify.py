"""Checks the rows of a run: recomputes a random sample of them with its own model and data."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from palpate.atomic import write_bytes
from palpate.data import PromptedDataset
from palpate.evaluation import CLEAN, Identity, read_rows
from palpate.evaluation.results.agreement import agreement
from palpate.evaluation.results.fingerprint import describe_differences, differences
from palpate.evaluation.results.store import (
    PROTOCOL_FILE,
    OtherRowsError,
    read_every_row,
    read_fingerprint,
    releases,
)
from palpate.evaluation.runner import Recheck
from palpate.models import PixelModel
from palpate.pipeline.attacks.plan import make_plan
from palpate.pipeline.attacks.universal import fitted_before
from palpate.pipeline.recipe.config import RunConfig
from palpate.pipeline.repeat.opened import (
    AS_THEY_WERE,
    Elsewhere,
    check_data,
    evaluations_of,
    opened,
)
from palpate.pipeline.run_folder.sources import SUMS, changed_files, read_sums
from palpate.pipeline.stages import preparation as stages
from palpate.pipeline.stages.evaluation import OTHER_PROTOCOL, score, score_baseline
from palpate.progress import Progress, silent
from palpate.reporting.numbers.checked_rows import records
from palpate.version import release

Status: TypeAlias = Literal["identical", "rounding", "differs", "unknown"]
_STORES = ("rows", OTHER_PROTOCOL, "baseline")


@dataclass(frozen=True)
class CheckedRow:
    """A stored row and how it agrees with the same row computed again.

    Attributes:
        store: Its folder in the run folder.
        stored: Its columns.
        again: The columns computed again; empty if the recipe makes no such row.
        status: ``identical``; ``rounding``: within the tolerance; ``differs``; ``unknown``: no
            attack of the recipe makes this row.
        differing: Values that differ, stored and computed again, by column.
    """

    store: str
    stored: Mapping[str, Any]
    again: Mapping[str, Any]
    status: Status
    differing: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Verification:
    """The result of :func:`verify`.

    Attributes:
        rows: The rows that were checked.
        total: Number of rows in the run folder.
        files: Files that are not what ``SHA256SUMS`` says.
        missing: Rows that the recipe makes and the run folder lacks.
        notes: What the reader must know besides.
    """

    rows: tuple[CheckedRow, ...]
    total: int
    files: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no row differs or is missing, and no file was changed."""
        wrong = any(row.status in ("differs", "unknown") for row in self.rows)
        return not (wrong or self.files or self.missing)


def verify(
    folder: Path,
    count: int = 20,
    seed: int = 0,
    elsewhere: Elsewhere = AS_THEY_WERE,
    progress: Progress = silent,
) -> Verification:
    """Recompute a random sample of the rows of a run, with its stored checkpoint and its data.

    Each row is computed again in the batch that it was computed in, because other batches round
    differently. Seconds are not compared.

    Args:
        folder: Run folder; nothing in it is changed.
        count: Number of rows to recompute; 0 for all.
        seed: Seed of the sample.
        elsewhere: Places of data and weights that are not where the run had them.
        progress: Called for every batch.

    Raises:
        FileNotFoundError: If code, data or weights of the run are missing.
        ValueError: If they are not those of the run; the message names them.
    """
    if count < 0:
        raise ValueError(f"Expected a number of rows, or 0 for all, got {count}.")
    folder = folder.resolve()
    with opened(folder, elsewhere) as config, TemporaryDirectory() as temporary:
        stored = _stored(folder)
        possible, notes = _checkable(stored, config, folder)
        chosen = _sample(possible, count, seed)
        made = _recomputed(config, chosen, folder, Path(temporary), progress)
        rows = tuple(
            _checked(str(line.pop("store")), line, made.rows, config.evaluate.tau)
            for line in records(chosen)
        )
    return Verification(
        rows,
        len(stored),
        tuple(changed_files(folder)),
        tuple(_missing(stored, made.expected)),
        notes,
    )


def compared_rows(before: Path, now: Path, tau: float) -> Verification:
    """Compare all rows of a run with those of the same run repeated in another folder."""
    stored, found = _stored(before), _by_identity(now)
    rows = tuple(_checked(str(line.pop("store")), line, found, tau) for line in records(stored))
    notes = (*_versions(before), *_changed(before, now))
    return Verification(rows, len(stored), tuple(changed_files(before)), (), notes)


@dataclass(frozen=True)
class _Made:
    """Rows computed again, and the identities of all rows that the recipe makes."""

    rows: Mapping[tuple[str, Identity], Mapping[str, Any]]
    expected: frozenset[Identity]


def _recomputed(
    config: RunConfig, chosen: pd.DataFrame, folder: Path, out: Path, progress: Progress
) -> _Made:
    data = _attacked(config, folder)
    checkpoint = config.model.checkpoint or folder / "checkpoint"
    here = replace(config, out=out, model=replace(config.model, checkpoint=checkpoint))
    model = stages.finished(here, progress)
    for store in _STORES:  # so that an evaluation with another model, data or code is refused
        if (folder / store / PROTOCOL_FILE).is_file():
            (out / store).mkdir()
            content = (folder / store / PROTOCOL_FILE).read_bytes()
            write_bytes(out / store / PROTOCOL_FILE, content)
    try:
        expected = _computed(here, chosen, model, data, folder, progress)
    except OtherRowsError as error:
        raise ValueError(
            f"The rows in {folder} were not made with this model, data and code: "
            f"{error.differing}. Restore them, or name their places with --data.root, --model.name "
            "and --model.checkpoint."
        ) from error
    return _Made(_by_identity(out), frozenset(expected))


def _computed(
    here: RunConfig,
    chosen: pd.DataFrame,
    model: PixelModel,
    data: PromptedDataset,
    folder: Path,
    progress: Progress,
) -> set[Identity]:
    expected: set[Identity] = set()
    names = [_identity(line) for line in records(chosen[chosen["store"] != "baseline"])]
    asked = frozenset({*names, *(name._replace(prompt=None) for name in names)})
    for evaluation in evaluations_of(here, folder):
        recheck = Recheck(asked)
        fitted = fitted_before(make_plan(evaluation).attacks, folder / "universal")
        score(evaluation, fitted, model, data, progress, recheck)
        expected |= recheck.made
    first = chosen[chosen["store"] == "baseline"]
    if len(first):
        names = [_identity(line) for line in records(first)]
        score_baseline(here, data, progress, Recheck(frozenset(names)))
    return expected


def _attacked(config: RunConfig, folder: Path) -> PromptedDataset:
    data = stages.load_attacked(config)
    check_data(data, "attacked", folder)
    return data


def _stored(folder: Path) -> pd.DataFrame:
    """All rows of a run folder, with a column ``store``."""
    parts = [
        read_every_row(folder / store).assign(store=store)
        for store in _STORES
        if any((folder / store).glob("part-*.parquet"))
    ]
    if not parts:
        raise FileNotFoundError(f"{folder} has no rows to verify; the run did not finish.")
    return pd.concat(parts, ignore_index=True)


def _checkable(
    stored: pd.DataFrame, config: RunConfig, folder: Path
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows that can be computed again, and what has to be said about the others."""
    notes = list(_versions(folder))
    if not read_sums(folder):
        notes.append(f"There is no {SUMS}: whole files are not checked.")
    if config.evaluate.choices.protocol.seeding == "none":
        random = (stored["store"] == "rows") & (stored["attack"] != CLEAN)
        notes.append(
            f"{random.sum()} rows cannot be checked: the protocol "
            f"{config.evaluate.choices.protocol.name!r} draws random numbers without a seed."
        )
        stored = stored[~random]
    return stored, tuple(notes)


def _versions(folder: Path) -> tuple[str, ...]:
    others = [version for version in releases(folder / "rows") if version != release()]
    if not others:
        return ()
    return (
        f"The rows were made by palpate {', '.join(others)}, this is {release()}. CHANGELOG.md "
        "says whether numbers changed in between.",
    )


def _changed(before: Path, now: Path) -> Iterator[str]:
    """What else than the rows differs between two runs: an attack's code, weights trained again.

    A changed attack may find nearly the same images, and its rows then pass for rounding.
    """
    for store in _STORES:
        if all((folder / store / PROTOCOL_FILE).is_file() for folder in (before, now)):
            differing = differences(read_fingerprint(now / store), read_fingerprint(before / store))
            if differing:
                yield (
                    f"The rows of {store} were not made alike in both runs: "
                    f"{describe_differences(differing)}."
                )


def _sample(stored: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    if not count or count >= len(stored):
        return stored
    places = np.random.default_rng(seed).choice(len(stored), count, replace=False)
    return stored.iloc[sorted(places)]


def _checked(
    store: str,
    line: dict[str, Any],
    found: Mapping[tuple[str, Identity], Mapping[str, Any]],
    tau: float,
) -> CheckedRow:
    again = found.get((store, _identity(line)._replace(prompt=None)))
    if again is None:
        return CheckedRow(store, line, {}, "unknown", {})
    told = agreement(line, again, tau)
    return CheckedRow(store, line, again, told.status, told.differing)


def _by_identity(folder: Path) -> dict[tuple[str, Identity], Mapping[str, Any]]:
    """Rows of a run folder by their stores and identities, whatever their prompts."""
    return {
        (store, _identity(line)._replace(prompt=None)): line
        for store in _STORES
        if any((folder / store).glob("part-*.parquet"))
        for line in records(read_rows(folder / store))
    }


def _identity(line: Mapping[str, Any]) -> Identity:
    return Identity(*(line[name] for name in Identity._fields))


def _missing(stored: pd.DataFrame, expected: Iterable[Identity]) -> list[str]:
    """Rows of images that the recipe makes and the store lacks; attacks on texts may not apply."""
    there = {_identity(line) for line in records(stored)}
    lost = sorted(
        i for i in expected if i.prompt is not None and not i.loss_name and i not in there
    )
    return [f"{i.attack} at {i.epsilon * 255:g}/255 on {i.key}" for i in lost]
