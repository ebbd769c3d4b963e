"""Rows divided by what was attacked: tables and checks are each about one kind."""

from typing import Final

import pandas as pd

from palpate.evaluation.results.rows import CLEAN

_TEXT_NORMS: Final = ("text", "embedding", "cosine")


def rows_of_images(rows: pd.DataFrame) -> pd.DataFrame:
    """Clean rows and those of attacks on images."""
    return rows[kinds(rows) == "image"].reset_index(drop=True)


def rows_of_texts(rows: pd.DataFrame) -> pd.DataFrame:
    """Clean rows and those of attacks on texts, alone or with the image; none without such."""
    kind = kinds(rows)
    attacked = kind.isin(["text", "joint"])
    if not attacked.any():
        return rows.iloc[:0]
    return rows[attacked | (rows["attack"] == CLEAN)].reset_index(drop=True)


def kinds(rows: pd.DataFrame) -> pd.Series:
    """The kind of each row, see :class:`palpate.evaluation.Row`.

    Tables from before there was the column hold rows of images, and of texts if their norm is one
    of texts.
    """
    if "kind" in rows.columns:
        kind = rows["kind"].fillna("image")
    else:
        kind = pd.Series("image", index=rows.index, dtype=object)
    is_text = (kind == "image") & rows["norm"].isin(_TEXT_NORMS)
    return kind.where(~is_text, "text")
