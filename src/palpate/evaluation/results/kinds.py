"""Selects rows by what was attacked (image, text, both, or MedIS)."""

from typing import Final

import pandas as pd

from palpate.evaluation.results.rows import CLEAN

_TEXT_NORMS: Final = ("text", "embedding", "cosine")


def rows_of_images(rows: pd.DataFrame) -> pd.DataFrame:
    """Select the clean rows and the rows of attacks on images."""
    return rows[kinds(rows) == "image"].reset_index(drop=True)


def rows_of_texts(rows: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of attacks on texts, alone or with the image, and the clean rows.

    The result is empty if there is no attack on texts.
    """
    kind = kinds(rows)
    attacked = kind.isin(["text", "joint"])
    if not attacked.any():
        return rows.iloc[:0]
    return rows[attacked | (rows["attack"] == CLEAN)].reset_index(drop=True)


def kinds(rows: pd.DataFrame) -> pd.Series:
    """Return the kind of each row; see :class:`palpate.evaluation.Row`.

    Tables of older versions have no column ``kind``. There, rows with a norm that only attacks on
    texts have are of kind ``"text"``, and all others of kind ``"image"``.
    """
    if "kind" in rows.columns:
        kind = rows["kind"].fillna("image")
    else:
        kind = pd.Series("image", index=rows.index, dtype=object)
    is_text = (kind == "image") & rows["norm"].isin(_TEXT_NORMS)
    return kind.where(~is_text, "text")
