"""One recipe, several runs: ``each`` lists what differs between them."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from palpate.evaluation import read_examples, read_rows
from palpate.pipeline.comparing import cards
from palpate.pipeline.config import RunConfig, plain, read_values, recipe_from
from palpate.pipeline.run import read_environment, run
from palpate.progress import Progress, silent
from palpate.reporting import report
from palpate.reporting.compare import compare
from palpate.reporting.reading import CONDITION, IMAGE

EACH, LABEL = "each", "label"


def read_sweep(path: Path) -> dict[str, RunConfig]:
    """Every run of a recipe, by the label that tells it apart.

    A recipe without ``each`` is a single run with an empty label.

    Raises:
        FileNotFoundError: If there is no such recipe.
        ValueError: If ``each`` is neither lists by setting nor a list of settings, or a run is
            not right.
    """
    values = read_values(path)
    runs: dict[str, RunConfig] = {}
    for changes in _changes(values.pop(EACH, {}), path):
        label = changes.pop(LABEL, "-".join(map(_label, changes.values())))
        if label in runs:
            raise ValueError(f"Expected runs of {EACH!r} in {path} that differ, got {label} twice.")
        runs[label] = recipe_from(_with(values, changes), RunConfig, str(path))
    return runs


def in_folders(configs: Mapping[str, RunConfig]) -> dict[str, RunConfig]:
    """The runs in folders of their own below the one they share; a single run where it is.

    Runs that differ only in how they are evaluated share a checkpoint, and what would be the same
    for all of them, baseline and sanity card, is made once.
    """
    placed: dict[str, RunConfig] = {}
    leaders: list[RunConfig] = []
    for label, config in configs.items():
        leader = next((other for other in leaders if _same_training(config, other)), None)
        placed[label] = _placed(config, label, leader)
        if leader is None:
            leaders.append(replace(config, out=placed[label].folder))
    return placed


def _placed(config: RunConfig, label: str, leader: RunConfig | None) -> RunConfig:
    if not label:
        return config
    config = replace(config, name=f"{config.name}-{label}", out=config.folder / label)
    if leader is None:
        return config
    shared = leader.model.checkpoint or leader.folder / "checkpoint"
    once = replace(config.evaluate, baseline=False, sanity_samples=0)
    return replace(config, model=replace(config.model, checkpoint=shared), evaluate=once)


def _same_training(one: RunConfig, other: RunConfig) -> bool:
    return (one.data, one.model, one.train, one.seed) == (
        other.data, other.model, other.train, other.seed,
    )  # fmt: skip


def run_sweep(configs: Mapping[str, RunConfig], folder: Path, progress: Progress = silent) -> Path:
    """Make every run in a folder of its own, and a report on all of them together.

    Runs under one protocol become one table. Where the protocol varies, the first run is the
    protocol and the others are choices made otherwise.

    Args:
        configs: By their labels, which name the folders.
        folder: Gets the runs and the common report.
        progress: Told about every step of every run.

    Returns:
        The common page.
    """
    for config in configs.values():
        run(config, progress)
    return report_sweep(configs, folder)


def report_sweep(configs: Mapping[str, RunConfig], folder: Path) -> Path:
    """The common report of finished runs.

    Runs that did the same to the same images are compared with the first; others make one table.
    """
    first = next(iter(configs.values()))
    protocols = [config.evaluate.choices.protocol.name for config in configs.values()]
    rows = {label: read_rows(config.folder / "rows") for label, config in configs.items()}
    same = [label for label, name in zip(rows, protocols, strict=True) if name == protocols[0]]
    others = {label: some for label, some in rows.items() if label not in same}
    together = pd.concat([rows[label] for label in same], ignore_index=True)
    if not others and together.duplicated([*IMAGE, *CONDITION]).any():
        return compare(_met_first(rows), folder, **_about(configs, same, folder))
    return report(
        together,
        folder,
        variants=others,
        examples=read_examples(first.folder / "examples"),
        **_about(configs, same, folder),
    )


def _met_first(rows: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The runs, led by the first that did to an image what another did to it, too."""
    columns = [*IMAGE, *CONDITION]
    everywhere = pd.concat([some[columns] for some in rows.values()], ignore_index=True)
    shared = everywhere[everywhere.duplicated()]
    leader = next(label for label, some in rows.items() if len(some.merge(shared, on=columns)))
    return {leader: rows[leader], **rows}


def _about(configs: Mapping[str, RunConfig], same: Sequence[str], folder: Path) -> dict[str, Any]:
    """What a report says of how it came about."""
    first = next(iter(configs.values()))
    return {
        "sanity": cards([configs[label].folder for label in same]),
        "config": plain(first),
        "environment": read_environment(first.folder),
        "title": folder.name,
    }


def _changes(listed: object, path: Path) -> list[dict[str, Any]]:
    """What each run sets: every combination of the lists, or the entries of one list."""
    if isinstance(listed, Mapping) and all(isinstance(o, list) and o for o in listed.values()):
        combined = itertools.product(*listed.values())
        return [dict(zip(listed, chosen, strict=True)) for chosen in combined]
    if isinstance(listed, list) and listed and all(isinstance(e, Mapping) and e for e in listed):
        return [dict(entry) for entry in listed]
    raise ValueError(
        f"Expected {EACH!r} of {path} to list values for settings (`data.name: [kvasir, isic]`), "
        "or to be a list of settings that belong together (`- {data.name: kvasir, seed: 1}`)."
    )


def _with(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested values with some of them, named by dotted paths, replaced."""
    made = dict(values)
    for path, value in changes.items():
        head, _, rest = path.partition(".")
        made[head] = _with(made.get(head) or {}, {rest: value}) if rest else value
    return made


def _label(value: object) -> str:
    """A name for a folder.

    >>> _label({"storage": "png"}), _label("kvasir"), _label({})
    ('storage-png', 'kvasir', 'as-it-is')
    """
    if isinstance(value, Mapping):
        text = " ".join(f"{k} {v}" for k, v in value.items()) or "as it is"
    else:
        text = str(value)
    return re.sub(r"[^\w.]+", "-", text).strip("-")
