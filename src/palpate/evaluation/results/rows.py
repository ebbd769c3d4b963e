"""The row: what one attack did to one image, as flat as a line of a table.

Everything palpate reports is computed from rows and from nothing else. A row says what was
measured on which sample under which protocol; what the run as a whole was made of (weights, data,
settings) stands once beside the rows, see :mod:`palpate.evaluation.results.fingerprint`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Literal, NamedTuple, TypeAlias

import pandas as pd
import pyarrow as pa

CLEAN = "clean"  # name of the attack that does nothing, whose rows hold the clean scores

Failure: TypeAlias = Literal["none", "vanished", "hallucinated", "shifted"]
Kind: TypeAlias = Literal["image", "text", "joint", "medis"]


class Identity(NamedTuple):
    """The columns that identify a row: no two rows of one store agree in all of them.

    A ``prompt`` of None stands for any prompt. Rows of attacks on the text are looked up by it,
    because nobody knows before the attack which prompt it will return.
    """

    dataset: str
    split: str
    key: str
    prompt_level: str
    prompt: str | None
    attack: str
    norm: str
    epsilon: float
    seed: int
    protocol: str
    target: str = ""
    loss_name: str = ""


@dataclass(frozen=True)
class Row:
    """One image, one structure, one prompt, one attack at one strength.

    Areas are fractions of the image. ``forwards`` and ``backwards`` are the passes through the
    model, or through a surrogate in its place, that the attack spent on this image; ``seconds`` is
    this image's share of its batch. A clean row counts the one pass that scores it, an attacked row
    counts the attack alone.
    """

    dataset: str
    split: str
    key: str
    image_name: str
    structure: str
    group: str
    prompt_level: str
    prompt: str
    height: int
    width: int

    attack: str  # CLEAN where nothing did
    norm: str  # "linf" or "l2"; "none" for CLEAN
    epsilon: float  # in units of pixel value, 0 for CLEAN
    seed: int
    protocol: str

    dsc: float
    iou: float
    miou: float  # mean of the IoU of foreground and background
    hd95: float  # in pixels
    nsd: float
    dsc_clean: float
    iou_clean: float
    mask_area: float
    clean_area: float  # of the prediction on the clean image
    area: float  # of the prediction on the attacked image
    success: bool
    failure: Failure

    linf: float
    l2: float
    psnr: float  # in dB; infinite where nothing changed
    ssim: float
    loss_clean: float  # binary cross-entropy, mean over pixels
    loss: float

    forwards: float
    backwards: float
    seconds: float

    # Whether the attack searched for the smallest perturbation: epsilon is then only the largest
    # that was allowed, the distance of the returned image is the result, and an image on which the
    # attack failed is the clean one.
    minimal: bool = False

    # Columns from here on are empty where they do not apply, and in older tables.
    kind: Kind = "image"  # what was attacked; clean rows are of kind "image", too

    # Of MedIS (kind "medis"): one row per loss and target. ``success`` is by its criterion there.
    target: str = ""  # "untargeted", or one of palpate.attacks.medis.targets.TARGETS
    loss_name: str = ""
    loss_place: int | None = None  # of equally good losses, fusion prefers the lowest place
    skipped: bool = False  # not attacked, because the target is the image's own mask
    already: bool = False  # the clean image meets the criterion without an attack
    flat: bool = False  # the gradient was zero at some step before the loss had succeeded
    steps: int | None = None  # to the first success, otherwise to the best score
    score: float | None = None  # of the criterion, after ``steps``
    score_clean: float | None = None
    target_area: float | None = None  # as a fraction of the image
    miou_target: float | None = None
    miou_truth: float | None = None

    @property
    def identity(self) -> Identity:
        return Identity(*(getattr(self, name) for name in Identity._fields))


_ARROW_TYPES = {
    str: pa.string(),
    Failure: pa.string(),
    Kind: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    int | None: pa.int64(),
    float: pa.float64(),
    float | None: pa.float64(),
}
SCHEMA = pa.schema([(f.name, _ARROW_TYPES[f.type]) for f in fields(Row)])
COLUMNS = tuple(SCHEMA.names)
_LATER = {f.name: f.default for f in fields(Row) if f.default is not MISSING}


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as columns, in the types of :data:`SCHEMA`."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)


def completed(table: pa.Table) -> pa.Table:
    """A table of rows with the columns that came later, each at what it was until then."""
    for field in SCHEMA:
        if field.name in _LATER and field.name not in table.column_names:
            values = pa.array([_LATER[field.name]] * len(table), field.type)
            table = table.append_column(field, values)
    is_whole = set(table.column_names) == set(COLUMNS)
    return table.select(COLUMNS) if is_whole else table


def to_frame(tables: Iterable[pa.Table]) -> pd.DataFrame:
    """Tables of rows as one data frame, ordered by identity, each identity once.

    Where an identity occurs twice the earlier row stays: a later one can only be the same
    measurement made again.
    """
    table = pa.concat_tables([SCHEMA.empty_table(), *tables])
    frame: pd.DataFrame = table.to_pandas()
    order = list(Identity._fields)
    frame = frame.sort_values(order, kind="stable").drop_duplicates(order, keep="first")
    return frame.reset_index(drop=True)


def identities(table: pa.Table) -> Iterable[Identity]:
    """The identity of every row of a table."""
    columns = (table.column(name).to_pylist() for name in Identity._fields)
    return (Identity(*values) for values in zip(*columns, strict=True))
