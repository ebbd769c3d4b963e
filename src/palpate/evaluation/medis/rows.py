"""Converts rows of MedIS to the lines that its tables read: one per image, target and loss."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from palpate.attacks.medis.targets import TARGETS

UNTARGETED = "untargeted"  # value of the column target for untargeted attacks

_ORDER = {target: place for place, target in enumerate((UNTARGETED, *TARGETS))}
# Column of a line -> column of a row.
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
    """Select the rows of MedIS and rename their columns to those of its tables.

    Args:
        rows: As returned by :func:`palpate.evaluation.evaluate`.

    Returns:
        One line per image, target and loss; no lines if there are no rows of MedIS. For each image
        targets are in the order of the published tables and losses in the order given, which
        breaks ties in :func:`palpate.evaluation.medis.fusion.fuse_lines`. The columns are those
        that identify the sample; ``target`` and ``loss``; ``skipped``, ``already``, ``success``,
        ``steps``, ``score``, ``score_clean`` and ``flat`` as in :class:`palpate.evaluation.Row`;
        ``target_area``; ``miou_target``, ``miou_truth``, ``dsc_truth`` and ``linf`` of the
        attacked image; and the costs.
    """
    if "target" not in rows.columns:
        return pd.DataFrame(columns=list(_COLUMNS))
    some = rows[rows["target"].fillna("") != ""]
    some = some.assign(_target=some["target"].map(_ORDER))
    some = some.sort_values([*_SAMPLE, "attack", "_target", "loss_place"], kind="stable")
    lines = some[list(_COLUMNS.values())].set_axis(list(_COLUMNS), axis="columns")
    return lines.astype({"steps": int} if len(lines) else {}).reset_index(drop=True)


def read_lines(folder: Path | str) -> pd.DataFrame:
    """Read the lines that older versions wrote to the folder ``medis/`` of a run.

    Returns:
        Lines as from :func:`medis_lines`; none if the folder does not exist.

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
