"""Sweeps: several runs from one recipe, whose ``each`` lists the settings that vary."""

import itertools
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from palpate.evaluation import read_examples, read_rows
from palpate.evaluation.results.kinds import rows_of_images
from palpate.pipeline.recipe.config import RunConfig
from palpate.pipeline.recipe.reading import plain, read_values, recipe_from
from palpate.pipeline.run.run import Checked, run, unsaid
from palpate.pipeline.run_folder.folder import read_environment
from palpate.pipeline.several.compare import cards
from palpate.progress import Progress, silent
from palpate.reporting import report
from palpate.reporting.compare import compare
from palpate.reporting.numbers.checked_rows import (
    BY_LEVEL,
    CONDITION,
    IMAGE,
    SAMPLE,
    by_sample,
    of_several_prompts,
)

EACH, LABEL = "each", "label"

_LONGEST = 120  # characters of a generated label; folder names may have at most 255 bytes


def read_sweep(path: Path) -> dict[str, RunConfig]:
    """Read all runs of a recipe, by their labels.

    A recipe without ``each`` is a single run with an empty label.

    Raises:
        FileNotFoundError: If there is no such recipe.
        ValueError: If ``each`` is neither lists by setting nor a list of settings, a run has wrong
            settings, or protocols vary together with other settings.
    """
    values = read_values(path)
    runs: dict[str, RunConfig] = {}
    for changes in _changes(values.pop(EACH, {}), path):
        label = _called(changes, path)
        if label in runs:
            raise ValueError(
                f"Expected runs of {EACH!r} in {path} that differ, got {label} twice. Give them a "
                f"{LABEL!r} each."
            )
        runs[label] = recipe_from(_with(values, changes, path), RunConfig, str(path))
    _refuse_protocols_among_others(runs, path)
    return runs


def _refuse_protocols_among_others(runs: Mapping[str, RunConfig], path: Path) -> None:
    """Refuse a protocol that varies together with model, data or seed.

    The differences could not be attributed to either in one table.
    """
    protocols = [config.evaluate.choices.protocol.name for config in runs.values()]
    if len(set(protocols)) < 2:
        return
    first = next(iter(runs.values()))
    others = [label for label, config in runs.items() if not _same_training(config, first)]
    others += [
        label for label, config in runs.items() if config.evaluate.split != first.evaluate.split
    ]
    if protocols.count(protocols[0]) > 1:
        others += [
            label for label, name in zip(runs, protocols, strict=True) if name == protocols[0]
        ]
    if others:
        raise ValueError(
            f"Expected runs of {EACH!r} in {path} that vary the protocol (evaluate.protocol, "
            f"evaluate.switches) or something else, got both ({', '.join(dict.fromkeys(others))}): "
            "protocols are compared on one model and the same images. Write a recipe for "
            "each model, data set or seed with the protocols under `each`, or one for each "
            "protocol."
        )


def in_folders(configs: Mapping[str, RunConfig]) -> dict[str, RunConfig]:
    """Give each run a subfolder of the common folder; a single run keeps its folder.

    Runs that differ only in their evaluation share a checkpoint. Only the first of them computes
    the baseline and the sanity card.
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


def run_sweep(
    configs: Mapping[str, RunConfig],
    folder: Path,
    progress: Progress = silent,
    recipe: Path | None = None,
    checked: Checked = unsaid,
) -> Path:
    """Run all configurations, and write a common report.

    Runs under one protocol are shown in one table. If the protocol varies, the first run is the
    reference, and the table shows the effect of each change of the protocol.

    Args:
        configs: Configurations by their labels, which are also the names of their folders.
        folder: Folder for the runs and the common report.
        progress: Called for every step of every run.
        recipe: The file of the recipe, which is copied into each run folder.
        checked: Called for each run before it starts.

    Returns:
        Path of the page of the common report.
    """
    for config in configs.values():
        run(config, progress, recipe, checked)
    return report_sweep(configs, folder)


def report_sweep(configs: Mapping[str, RunConfig], folder: Path) -> Path:
    """Write the common report of finished runs; return the path of its page.

    Runs with the same attacks on the same images are compared with the first of them. Other runs
    are shown in one table. Runs with different seeds are always compared.
    """
    first = next(iter(configs.values()))
    protocols = [config.evaluate.choices.protocol.name for config in configs.values()]
    rows = {
        label: rows_of_images(read_rows(config.folder / "rows"))
        for label, config in configs.items()
    }
    same = [label for label, name in zip(rows, protocols, strict=True) if name == protocols[0]]
    others = {label: some for label, some in rows.items() if label not in same}
    together = pd.concat([rows[label] for label in same], ignore_index=True)
    if not others and (_meet(rows) or (together.groupby("dataset")["seed"].nunique() > 1).any()):
        names = {label: _name(label, configs) for label in rows}
        leader = _leader(rows)
        order = rows if leader is None else {leader: rows[leader], **rows}
        named = {names[label]: some for label, some in order.items()}
        about = _about(configs, names, folder)
        return compare(named, folder, paired=leader is not None, **about)
    return report(
        together,
        folder,
        variants=others,
        examples=read_examples(first.folder / "examples"),
        **_about(configs, {label: label for label in same}, folder),
    )


def _meet(rows: Mapping[str, pd.DataFrame]) -> bool:
    """Whether two runs have the same attack on the same sample, with any prompt.

    If so, a mean over both runs would count that sample twice.
    """
    columns = [*SAMPLE, *CONDITION]
    each = [by_sample(some)[columns].drop_duplicates() for some in rows.values()]
    return bool(pd.concat(each, ignore_index=True).duplicated().any())


def _name(label: str, configs: Mapping[str, RunConfig]) -> str:
    """Name of a run in the report: its label, and its seed if the runs differ in their seeds."""
    seed = f"seed {configs[label].seed}"
    if len({config.seed for config in configs.values()}) < 2 or seed in label:
        return label
    return seed if label == str(configs[label].seed) else f"{label}, {seed}"


def _leader(rows: Mapping[str, pd.DataFrame]) -> str | None:
    """The first run that shares an attack on an image with another run."""
    rows = {label: by_sample(some) for label, some in rows.items()}
    # Runs with the same prompt come first. If a run has several prompts for a sample, the next
    # choice is a prompt of the same level, because that is how the report pairs them.
    for image in (IMAGE, BY_LEVEL if any(map(of_several_prompts, rows.values())) else SAMPLE):
        columns = [*image, *CONDITION]
        each = [some[columns].drop_duplicates() for some in rows.values()]
        everywhere = pd.concat(each, ignore_index=True)
        shared = everywhere[everywhere.duplicated()].drop_duplicates()
        for label, some in rows.items():
            if len(some.merge(shared, on=columns)):
                return label
    return None


def _about(
    configs: Mapping[str, RunConfig], names: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    """Arguments of a report about its runs: sanity cards, configuration, environment and title."""
    first = next(iter(configs.values()))
    return {
        "sanity": cards({name: configs[label].folder for label, name in names.items()}),
        "config": plain(first),
        "environment": read_environment(first.folder),
        "command": "\n".join(_repeated(configs, folder)),
        "title": folder.name,
    }


def _repeated(configs: Mapping[str, RunConfig], folder: Path) -> Iterator[str]:
    """The commands that repeat the runs, one after the other."""
    yield f"cd {shlex.quote(str(folder.resolve()))}"
    for config in configs.values():
        yield shlex.join(["palpate", "rerun", os.path.relpath(config.folder, folder)])


def _changes(listed: object, path: Path) -> list[dict[str, Any]]:
    """List the settings of each run: all combinations of several lists, or entries of one list."""
    entries = [listed] if isinstance(listed, Mapping) else listed
    if isinstance(entries, list):
        _refuse_other_names(entries, path)
    if isinstance(listed, Mapping) and all(isinstance(o, list) and o for o in listed.values()):
        combined = itertools.product(*listed.values())
        return [dict(zip(listed, chosen, strict=True)) for chosen in combined]
    if isinstance(listed, list) and listed and all(isinstance(e, Mapping) and e for e in listed):
        return [dict(entry) for entry in listed]
    raise ValueError(
        f"Expected {EACH!r} of {path} to list values for settings (`data.name: [kvasir, isic]`), "
        "or to be a list of settings that belong together (`- {data.name: kvasir, seed: 1}`)."
    )


def _refuse_other_names(entries: list[Any], path: Path) -> None:
    names = [name for entry in entries if isinstance(entry, Mapping) for name in entry]
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ValueError(
            f"Expected {EACH!r} of {path} to name settings such as data.name, got {wrong[0]!r}."
        )


def _with(values: Mapping[str, Any], changes: Mapping[str, Any], recipe: Path) -> dict[str, Any]:
    """Copy nested values and replace those named by dotted paths."""
    made = dict(values)
    for path, value in changes.items():
        head, _, rest = path.partition(".")
        within = made.get(head) or {}
        if rest and not isinstance(within, Mapping):
            raise ValueError(
                f"Expected settings below {head!r} in {recipe}, where {EACH!r} sets {path!r}, got "
                f"{within!r}. Write `{head}: {{name: {within}}}`, or whichever setting it is."
            )
        made[head] = _with(within, {rest: value}, recipe) if rest else value
    return made


def _called(changes: dict[str, Any], path: Path) -> str:
    """Return the label of a run, which is also the name of its folder.

    A label given in ``changes`` is removed from them, because it is not a setting.

    Raises:
        ValueError: If a given label cannot be the name of a folder.
    """
    if LABEL not in changes:
        return "-".join(map(_label, changes.values()))[:_LONGEST]
    given = changes.pop(LABEL)
    label = str(given) if isinstance(given, str | int | float) else ""
    if not label.strip(". ") or re.search(r"[/\\:]", label):
        raise ValueError(
            f"Expected a {LABEL!r} in {EACH!r} of {path} that can be the name of a folder, got "
            f"{given!r}. Use letters, digits and hyphens."
        )
    return label


def _label(value: object) -> str:
    """Make a folder name from the value of a setting.

    >>> _label({"storage": "png"}), _label("kvasir"), _label({})
    ('storage-png', 'kvasir', 'as-it-is')
    >>> _label(""), _label("..")
    ('empty', 'empty')
    """
    if isinstance(value, Mapping):
        text = " ".join(f"{k} {v}" for k, v in value.items()) or "as it is"
    else:
        text = str(value)
    name = re.sub(r"[^\w.]+", "-", text).strip("-")
    return name if name.strip(".") else "empty"  # `.` and `..` are other folders
