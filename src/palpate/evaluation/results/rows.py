"""Rows: the results of one attack on one image, with one column per value.

Everything that palpate reports is computed from rows. A row holds what was measured, on which
sample and under which protocol. What all rows depend on (weights, data, settings) is stored once
beside them; see :mod:`palpate.evaluation.results.fingerprint`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, NamedTuple, TypeAlias

import pandas as pd
import pyarrow as pa

from palpate.evaluation.metrics import METRICS, Metric, find_metrics
from palpate.evaluation.metrics.metric import as_text, from_text

CLEAN = "clean"  # name of the attack that does nothing, whose rows hold the clean scores

Failure: TypeAlias = Literal["none", "vanished", "hallucinated", "shifted"]
Kind: TypeAlias = Literal["image", "text", "joint", "medis"]


class Identity(NamedTuple):
    """The columns that identify a row; no two rows of a store have the same identity.

    A ``prompt`` of None stands for any prompt. It is used to look up rows of attacks on the text,
    because the prompt that such an attack returns is unknown before it is run.
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
    """Results for one image, one structure, one prompt, and one attack at one epsilon.

    Areas are fractions of the image area. ``forwards`` and ``backwards`` are the passes that the
    attack spent on this image, through the model or its surrogate; ``seconds`` is the time of the
    batch divided by its images. A clean row counts one forward pass; an attacked row counts the
    attack only, not the pass that scores it.
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

    attack: str  # name of the attack; CLEAN for the clean image
    norm: str  # "linf" or "l2"; "none" for CLEAN
    epsilon: float  # in units of pixel value, 0 for CLEAN
    seed: int
    protocol: str

    # Score of each metric by its name; with keeps_clean also NAME_clean, the score of the clean
    # image. In a table each score is a column of its own; dsc and dsc_clean always exist.
    scores: Mapping[str, float] = field(hash=False)
    mask_area: float
    clean_area: float  # of the prediction on the clean image
    area: float  # of the prediction on the attacked image
    success: bool
    failure: Failure

    linf: float
    l2: float
    psnr: float  # in dB; infinite if the image did not change
    ssim: float
    loss_clean: float  # binary cross-entropy, mean over pixels
    loss: float

    forwards: float
    backwards: float
    seconds: float

    # Whether the attack searched for the smallest perturbation. If so, epsilon is only the largest
    # norm allowed, the result is the distance of the returned image (linf, l2), and where the
    # attack failed the returned image is the clean one.
    minimal: bool = False

    # The columns below have their default where they do not apply, and in older tables.
    kind: Kind = "image"  # what was attacked; clean rows also have the kind "image"

    # MedIS only (kind "medis"): one row per loss and target; ``success`` follows its criterion.
    target: str = ""  # "untargeted", or one of palpate.attacks.medis.targets.TARGETS
    loss_name: str = ""
    loss_place: int | None = None  # position of the loss; the lowest wins a tie in the fusion
    skipped: bool = False  # not attacked, because the target is the image's own mask
    already: bool = False  # the clean image meets the criterion without an attack
    flat: bool = False  # the gradient was zero at some step before the loss had succeeded
    steps: int | None = None  # to the first success, otherwise to the best score
    score: float | None = None  # value of the criterion on the returned image
    score_clean: float | None = None
    target_area: float | None = None  # as a fraction of the image
    miou_target: float | None = None
    miou_truth: float | None = None

    @property
    def identity(self) -> Identity:
        return Identity(*(getattr(self, name) for name in Identity._fields))

    @property
    def dsc(self) -> float:
        """DSC of the prediction for the attacked image."""
        return self.scores["dsc"]

    @property
    def dsc_clean(self) -> float:
        """DSC of the prediction for the clean image."""
        return self.scores["dsc_clean"]

    def columns(self) -> dict[str, Any]:
        """The row as a flat mapping of column names to values, in the order of the columns."""
        return _flat({f.name: getattr(self, f.name) for f in fields(self)}, self.scores)

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "Row":
        """Create a row from a flat mapping; columns that are not fields become scores."""
        own = {f.name for f in fields(cls)} - {_SCORES}
        scores = {name: value for name, value in line.items() if name not in own}
        return cls(**{name: line[name] for name in own if name in line}, scores=scores)


def _flat(values: dict[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the field ``scores`` by the scores themselves, at the same position."""
    names = list(values)
    place = names.index(_SCORES)
    before, after = names[:place], names[place + 1 :]
    return {**{n: values[n] for n in before}, **scores, **{n: values[n] for n in after}}


_SCORES = "scores"
_METRIC = b"palpate.metric"  # key in the metadata of a column: the declaration of the metric
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
_OWN = {f.name: pa.field(f.name, _ARROW_TYPES[f.type]) for f in fields(Row) if f.name != _SCORES}
_LATER = {f.name: f.default for f in fields(Row) if f.default is not MISSING}


def score_names(metrics: Iterable[Metric]) -> list[str]:
    """Names of the columns of metrics: first all scores, then the scores of the clean images."""
    metrics = list(metrics)
    return [m.name for m in metrics] + [f"{m.name}_clean" for m in metrics if m.keeps_clean]


def schema_of(metrics: Sequence[Metric]) -> pa.Schema:
    """Arrow schema of rows with these metrics; declarations are stored in the column metadata.

    Raises:
        ValueError: If a metric has the name of a column that every row has.
    """
    if taken := sorted(set(_OWN) & set(score_names(metrics))):
        raise ValueError(
            f"Expected metrics whose names are no columns of a row, got {', '.join(taken)}. Rename "
            "the function."
        )
    told = {m.name: {_METRIC: json.dumps(as_text(m)).encode()} for m in metrics}
    scores = {
        name: pa.field(name, pa.float64(), metadata=told.get(name)) for name in score_names(metrics)
    }
    every = {f.name: _OWN.get(f.name) for f in fields(Row)}
    return pa.schema(list(_flat(every, scores).values()))


SCHEMA = schema_of(find_metrics())  # schema of rows with the default metrics
COLUMNS = tuple(SCHEMA.names)


def to_table(rows: Sequence[Row], metrics: Sequence[Metric] | None = None) -> pa.Table:
    """Convert rows to an Arrow table.

    Args:
        rows: Rows that all have the scores of ``metrics``.
        metrics: Metrics of the rows; None: the default metrics.
    """
    schema = SCHEMA if metrics is None else schema_of(metrics)
    return pa.Table.from_pylist([row.columns() for row in rows], schema=schema)


def completed(table: pa.Table) -> pa.Table:
    """Add the columns that an older table lacks, filled with their defaults."""
    for name, default in _LATER.items():
        if name not in table.column_names:
            values = pa.array([default] * len(table), _OWN[name].type)
            table = table.append_column(_OWN[name], values)
    is_whole = set(_OWN) <= set(table.column_names)
    return table.select(_in_order(table.column_names)) if is_whole else table


def wrong_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that are missing, unknown or of the wrong type in a table of rows."""
    declared = {f.name for f in schema if _METRIC in (f.metadata or {})}
    scores = {*score_names(METRICS.values()), *declared, *(f"{name}_clean" for name in declared)}
    types = {name: pa.float64() for name in scores} | {f.name: f.type for f in _OWN.values()}
    wrong = {f.name for f in schema if f.type != types.get(f.name)}
    needed = {*_OWN, "dsc", "dsc_clean"}
    return sorted(wrong | (needed - set(schema.names)))


def to_frame(tables: Iterable[pa.Table], *, unique: bool = True) -> pd.DataFrame:
    """Combine tables of rows into one data frame, sorted by identity and without duplicates.

    Of rows with the same identity the first is kept: a later one can only repeat the same
    measurement. A metric that a table lacks is NaN in its rows. ``attrs["metrics"]`` of the frame
    holds the declarations of the metrics by name.

    Args:
        tables: Tables of rows.
        unique: Whether rows with the same identity are dropped but for the first.
    """
    parts = list(tables) or [SCHEMA.empty_table()]
    table = pa.concat_tables(parts, promote_options="default")
    frame: pd.DataFrame = table.select(_in_order(table.column_names)).to_pandas()
    order = list(Identity._fields)
    frame = frame.sort_values(order, kind="stable")
    if unique:
        frame = frame.drop_duplicates(order, keep="first")
    frame = frame.reset_index(drop=True)
    frame.attrs["metrics"] = {
        column.name: json.loads(column.metadata[_METRIC])
        for column in table.schema
        if _METRIC in (column.metadata or {})
    }
    return frame


def metrics_in(rows: pd.DataFrame) -> list[Metric]:
    """List the metrics for which a frame has values: palpate's own in order, then the others.

    Other metrics are taken from the declarations in ``attrs["metrics"]`` of the frame.
    """
    declared = rows.attrs.get("metrics", {})
    own = [from_text(name, told) for name, told in declared.items() if name not in METRICS]
    return [
        metric
        for metric in (*METRICS.values(), *own)
        if metric.name in rows.columns and rows[metric.name].notna().any()
    ]


def _in_order(names: Sequence[str]) -> list[str]:
    """Sort columns into the order of a row; concatenation puts those that a part lacks last."""
    scores = [name for name in names if name not in _OWN]
    scores.sort(key=lambda name: name.endswith("_clean"))
    return list(_flat(dict.fromkeys(f.name for f in fields(Row)), dict.fromkeys(scores)))


def identities(table: pa.Table) -> Iterable[Identity]:
    """Yield the identity of every row of a table."""
    columns = (table.column(name).to_pylist() for name in Identity._fields)
    return (Identity(*values) for values in zip(*columns, strict=True))
