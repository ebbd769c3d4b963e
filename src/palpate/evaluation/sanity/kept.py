"""An examination on disk, given back as long as what it was made of is the same."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from palpate.atomic import replacing
from palpate.evaluation.sanity.check import Check

ABANDONED = (
    "The check could not be carried out. An attack that cannot run does no damage, and that is "
    "no robustness."
)
"""The meaning of a check that raised an error."""


def keep(checks: Sequence[Check], made_of: Mapping[str, str], path: Path) -> None:
    """Write the checks with what they depend on.

    An examination with a check that raised an error is not kept: the cause may have been in the
    machine and not in the model.
    """
    if any(check.meaning == ABANDONED for check in checks):
        return
    values = {"made_of": dict(made_of), "checks": [asdict(check) for check in checks]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False), encoding="utf-8")


def kept(made_of: Mapping[str, str], path: Path) -> list[Check] | None:
    """The checks in the file; None if there are none, or they are those of something else.

    A damaged file counts as none: the examination can be made again.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["made_of"] != dict(made_of):
            return None
        return [Check(**line) for line in values["checks"]]
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None
