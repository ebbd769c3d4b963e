"""Readers of metadata files of a source: CSV tables and JSON."""

import csv
import json
from io import StringIO
from typing import Any

from palpate.data.prepare.source import Source


def read_table(source: Source, name: str, *columns: str) -> list[dict[str, str]]:
    """Read a CSV file with a header.

    Args:
        source: Source that contains the file.
        name: Name of the file in the source.
        columns: Required columns.

    Returns:
        Values of each row by column, without surrounding spaces; empty if missing.

    Raises:
        ValueError: If the file is not UTF-8 or lacks a column.
    """
    label = source.label(name)
    try:
        text = source.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected UTF-8 text in {label}, got {error}. Save it as UTF-8."
        ) from error
    reader = csv.DictReader(StringIO(text), restval="")
    there = [column.strip() for column in reader.fieldnames or []]
    missing = [column for column in columns if column not in there]
    if missing:
        raise ValueError(
            f"Expected a column {missing[0]!r} in {label}, got {', '.join(there) or 'nothing'}. "
            "Download it again, or remove it."
        )
    reader.fieldnames = there
    return [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]


def read_json(source: Source, name: str) -> Any:
    """Read a JSON file of a source.

    Raises:
        ValueError: If the file is not valid JSON in UTF-8.
    """
    try:
        return json.loads(source.read(name).decode("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"Expected JSON in {source.label(name)}, but: {error}. Download or export it again."
        ) from error
