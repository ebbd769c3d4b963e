"""Acceptance criteria of a run: checked and recorded before it starts, judged on its rows."""

import json
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from palpate.attacks.text import TextAttack
from palpate.config_io import load_yaml
from palpate.data.sample import Case
from palpate.errors import yaml_fault
from palpate.evaluation import Joint
from palpate.evaluation.image_attacks import UNTOUCHED, AttackAtRadius, at_radii
from palpate.evaluation.medis.condition import Medis
from palpate.evaluation.metrics import find_metrics
from palpate.evaluation.text.conditions import row_of
from palpate.pipeline.attacks.plan import Plan
from palpate.pipeline.attacks.universal import SHUFFLED, ToFit
from palpate.pipeline.recipe.config import RunConfig
from palpate.pipeline.run_folder.folder import now, write_json
from palpate.reporting.acceptance.conditions import Condition
from palpate.reporting.acceptance.criteria import Criteria, check_levels, read_criteria, resolve
from palpate.reporting.acceptance.judge import judge
from palpate.reporting.acceptance.verdict import Fixing, Verdict
from palpate.version import release

RECORD, VERDICT = "criteria.json", "verdict.json"
_SOURCE = "acceptance"


def read_criteria_file(path: Path) -> Criteria:
    """Read criteria from a YAML or JSON file, which may also be a recipe that has some.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If they cannot be used.
    """
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise FileNotFoundError(
            f"There is no file of criteria {path}; beside it: {', '.join(near) or '-'}."
        )
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not readable YAML: {yaml_fault(error)}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not readable YAML: Expected UTF-8, got {error}.") from error
    is_recipe = isinstance(values, dict) and _SOURCE in values
    return read_criteria(values[_SOURCE] if is_recipe else values, str(path))


def check_criteria(config: RunConfig, plan: Plan, cases: Sequence[Case]) -> None:
    """Check the criteria of a recipe against what the run is going to measure.

    Args:
        config: The recipe.
        plan: Its attacks.
        cases: The samples that are attacked.

    Raises:
        ValueError: If the run will lack what a criterion is about.
    """
    if not config.acceptance:
        return
    criteria = read_criteria(config.acceptance, _SOURCE)
    metrics = find_metrics(config.evaluate.metrics)
    resolved = resolve(criteria, metrics, _planned(config, plan), _SOURCE)
    levels = {
        name: sorted({str(getattr(case, name)) for case in cases})
        for name in ("dataset", "structure", "prompt_level")
    }
    check_levels(resolved, levels, _SOURCE)


def record_criteria(config: RunConfig, folder: Path) -> None:
    """Write the criteria, their hash and the date to the run folder, unless they are there."""
    path = folder / RECORD
    if not config.acceptance or path.is_file():
        return
    criteria = read_criteria(config.acceptance, _SOURCE)
    write_json(
        path,
        {
            "sha256": criteria.digest,
            "date": now(),
            "palpate": release(),
            "acceptance": criteria.values,
        },
    )


def judge_run(folder: Path, rows: pd.DataFrame, criteria: Criteria, source: str) -> Verdict:
    """Judge the rows of a run folder and write ``verdict.json``."""
    verdict = judge(rows, criteria, _fixing(folder, criteria), source)
    write_json(folder / VERDICT, {**verdict.plain(), "acceptance": criteria.values})
    return verdict


def judge_again(folder: Path, rows: pd.DataFrame) -> Verdict | str | None:
    """Judge a run by the criteria of its last verdict, or else by those recorded in it.

    Returns:
        The verdict; why the criteria could not be judged; None if there are none.
    """
    criteria = stored_criteria(folder, VERDICT, RECORD)
    if criteria is None:
        return None
    try:
        return judge_run(folder, rows, criteria, _SOURCE)
    except ValueError as error:  # the page must come nevertheless
        (folder / VERDICT).unlink(missing_ok=True)
        warnings.warn(f"The acceptance criteria were not judged: {error}", stacklevel=2)
        return str(error)


def read_verdict(folder: Path) -> str:
    """The last verdict on a run in one sentence, empty if there is none."""
    found = _stored(folder / VERDICT)
    return f"Acceptance: {found['verdict']}; see {folder / VERDICT}." if found else ""


def recorded_criteria(folder: Path) -> Criteria | None:
    """The criteria that a run was started with, or else those of its last verdict."""
    return stored_criteria(folder, RECORD, VERDICT)


def stored_criteria(folder: Path, *names: str) -> Criteria | None:
    """The criteria of the first of several files that a run folder has; None if it has none."""
    for name in names:
        if found := _stored(folder / name):
            return read_criteria(found["acceptance"], str(folder / name))
    return None


def _fixing(folder: Path, criteria: Criteria) -> Fixing:
    record = _stored(folder / RECORD)
    first = _first_rows(folder / "rows")
    if not record:
        return Fixing(criteria.digest, first_rows=first)
    if record["sha256"] != criteria.digest:
        return Fixing(criteria.digest, first_rows=first, other=str(record["sha256"]))
    return Fixing(criteria.digest, str(record["date"]), first)


def _stored(path: Path) -> dict[str, Any]:
    """A file of criteria or verdict; empty if there is none."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and "acceptance" in found:
            return found
    except ValueError:
        pass
    raise ValueError(f"{path} is damaged. Delete it and run `palpate gate` with --criteria.")


def _first_rows(folder: Path) -> str:
    """When the first rows were written, from the names of the parts."""
    times = [int(path.name.split("-")[1]) for path in folder.glob("part-*-*.parquet")]
    if not times:
        return ""
    return datetime.fromtimestamp(min(times) / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _planned(config: RunConfig, plan: Plan) -> list[Condition]:
    """The conditions that a run is going to have rows of."""
    found: list[AttackAtRadius] = [UNTOUCHED]
    for name, attack in plan.attacks.items():
        if isinstance(attack, Medis):
            continue
        if isinstance(attack, TextAttack | Joint):
            found += [row_of(name, attack)] if config.evaluate.choices.protocol.is_sound else []
        elif isinstance(attack, ToFit):
            both = {name: attack.attack, name + SHUFFLED: attack.attack}
            found += at_radii(both, config.evaluate.radii)[1:]
        else:
            found += at_radii({name: attack}, config.evaluate.radii, config.evaluate.tau)[1:]
    return [Condition(each.name, each.norm, each.epsilon, each.minimal) for each in found]
