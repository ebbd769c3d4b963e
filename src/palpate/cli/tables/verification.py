"""Prints how the rows of a run agree with the same rows computed again."""

import json
from collections import Counter
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from palpate.pipeline.repeat.verify import CheckedRow, Status, Verification
from palpate.reporting.labels import attack_label, epsilon_label
from palpate.reporting.tables.table import percent

SAID: Final[dict[Status, str]] = {
    "identical": "identical",
    "rounding": "within rounding",
    "differs": "DIFFERS",
    "unknown": "NOT IN THE RECIPE",
}
_MOST = 30  # rows listed; of more, only those that are not identical


def show_verification(found: Verification) -> None:
    """Print the rows that were checked, and a summary in sentences."""
    console = Console(highlight=False)
    listed = [r for r in found.rows if len(found.rows) <= _MOST or r.status != "identical"]
    if listed:
        console.print(_table(listed))
    counts = Counter(row.status for row in found.rows)
    told = ", ".join(f"{counts[status]} {said}" for status, said in SAID.items() if counts[status])
    console.print(f"{len(found.rows)} of {found.total} rows computed again: {told}.", markup=False)
    for line in found.files:
        console.print(f"  SHA256SUMS: {line}", markup=False)
    for line in found.missing[:_MOST]:
        console.print(f"  missing row: {line}", markup=False)
    if len(found.missing) > _MOST:
        console.print(f"  and {len(found.missing) - _MOST} missing rows more", markup=False)
    for note in found.notes:
        console.print(note, markup=False)


def verification_values(found: Verification) -> dict[str, Any]:
    """The outcome as plain values."""
    rows = [
        {
            **{name: row.stored[name] for name in ("dataset", "key", "attack", "norm", "epsilon")},
            "folder": row.store,
            "status": row.status,
            "differing": {name: list(pair) for name, pair in row.differing.items()},
        }
        for row in found.rows
    ]
    values = {
        "passed": found.passed, "total": found.total, "rows": rows, "files": list(found.files),
        "missing": list(found.missing), "notes": list(found.notes),
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(values, default=_plain))
    return plain


def _table(rows: list[CheckedRow]) -> Table:
    table = Table("Image", "Attack", "ε", "DSC", "again", "", box=SIMPLE_HEAD)
    for row in rows:
        stored = row.stored
        told = "; ".join(f"{n}: {_short(a)}, again {_short(b)}" for n, (a, b) in _few(row))
        table.add_row(
            escape(str(stored["key"])),
            escape(attack_label(str(stored["attack"]))),
            epsilon_label(stored["epsilon"], str(stored["norm"]))
            if stored["attack"] != "clean"
            else "–",
            percent(stored["dsc"]),
            percent(row.again["dsc"]) if row.again else "–",
            f"{SAID[row.status]}{escape(f' ({told})') if told else ''}",
        )
    return table


def _few(row: CheckedRow) -> list[tuple[str, tuple[Any, Any]]]:
    """The first of the values that differ; none for rounding, where they mean nothing."""
    return [] if row.status == "rounding" else list(row.differing.items())[:3]


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
