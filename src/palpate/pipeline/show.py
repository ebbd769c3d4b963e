"""What is in a data set, as a table for the terminal."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from palpate.data import load_data


def show_data(name: str, root: Path | None) -> None:
    """Check every split and print its counts.

    Raises:
        ValueError, FileNotFoundError: If a file is not as it should be; says which and why.
    """
    table = Table("split", "samples", "images", "groups", "structures", title=name)
    for split in ("train", "val", "test"):
        cases = load_data(name, root, split=split).cases
        table.add_row(
            split,
            str(len(cases)),
            str(len({case.image_name for case in cases})),
            str(len({case.group for case in cases})),
            ", ".join(sorted({case.structure for case in cases})),
        )
    Console().print(table)
