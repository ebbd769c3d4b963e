"""The section of ``docs/results.md`` on the published procedure, from finished sweeps.

python docs/scripts/make_protocol_results.py runs/paper-table1 runs/artefacts runs/artefacts-camus
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from results_page import machine_of, put_section, subordinate


def main(table_1: Path, artefacts: list[Path]) -> None:
    put_section("published", (line for part in _section(table_1, artefacts) for line in part))


def _section(table_1: Path, artefacts: list[Path]) -> Iterator[list[str]]:
    yield [
        "## The published procedure, and what each of its choices is worth",
        "",
        "`palpate run --config recipes/paper-table1.yaml` and, once for each data set, "
        f"`recipes/artefacts.yaml`. {machine_of(next(table_1.glob('*/environment.json')))}",
        "",
        _table(table_1, "published"),
        "",
    ]
    for folder in artefacts:
        yield [_table(folder, "artefacts"), ""]


def _table(folder: Path, name: str) -> str:
    return subordinate((folder / "tables" / f"{name}.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
