"""Rows of MedIS as the tables of MedIS read them, one line per image, target and loss."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from palpate.attacks.medis.targets import TARGETS

UNTARGETED = "untargeted"  # target of the rows of attacks without one

_ORDER = {target: place for place, target in enumerate((UNTARGETED, *TARGETS))}
# Columns of a line by name, with the column of a row that they come from.
_COLUMNS = {
    "dataset": "dataset", "split": "split", "key": "key", "image_name": "image_name",
    "structure": "structure", "group": "group", "prompt_level": "prompt_level",
    "prompt": "prompt", "target": "target", "loss": "loss_name", "seed": "seed",
    "protocol": "protocol", "skipped": "skipped", "already": "already", "success": "success",
    "steps": "steps", "score": "score", "score_clean": "score_clean", "flat": "flat",
    "target_area": "target_area", "miou_target": "miou_target", "miou_truth": "miou_truth",
    "dsc_truth": "dsc", "linf": "linf", "forwards": "forwards", "backwards": "backwards",
    "seconds": "seconds",
}  # fmt: skip
_SAMPLE = ["dataset", "split", "key", "prompt_level", "prompt"]


def medis_lines(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of MedIS among all rows, with the column names of its tables.

    Args:
        rows: As :func:`palpate.evaluation.evaluate` returns them.

    Returns:
        One line per image, target and loss. Per image targets are in the order of the published
        tables and losses in the order in which they were given, which decides between equals in
        :func:`palpate.evaluation.medis.fusion.fuse_lines`. Columns that name the sample; ``target``
        and ``loss``; ``skipped``, ``already``, ``success``, ``steps``, ``score``,
        ``score_clean`` and ``flat`` as in :class:`palpate.evaluation.Row`; ``target_area``;
        ``miou_target``, ``miou_truth``, ``dsc_truth`` and ``linf`` of the attacked image; and the
        costs. None where there are no rows of MedIS.
    """
    if "target" not in rows.columns:
        return pd.DataFrame(columns=list(_COLUMNS))
    some = rows[rows["target"].fillna("") != ""]
    some = some.assign(_target=some["target"].map(_ORDER))
    some = some.sort_values([*_SAMPLE, "attack", "_target", "loss_place"], kind="stable")
    lines = some[list(_COLUMNS.values())].set_axis(list(_COLUMNS), axis="columns")
    return lines.astype({"steps": int} if len(lines) else {}).reset_index(drop=True)


def read_lines(folder: Path | str) -> pd.DataFrame:
    """Lines in the folder ``medis/`` of a run from before its rows held them, oldest first.

    Returns:
        As :func:`medis_lines`; no lines if there is no such folder.

    Raises:
        ValueError: If a part is damaged.
    """
    tables = []
    for path in sorted(Path(folder).glob("part-*.parquet")):
        try:
            tables.append(pq.read_table(path, columns=list(_COLUMNS)))
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{path} is damaged or holds no lines of MedIS ({error}). Move that file "
                "away and run again: its lines are computed anew."
            ) from error
    if not tables:
        return pd.DataFrame(columns=list(_COLUMNS))
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    by = [*_SAMPLE, "target", "loss", "seed", "protocol"]
    return frame.drop_duplicates(by, ignore_index=True)
