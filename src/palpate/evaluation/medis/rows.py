"""What one loss of MedIS did to one image, as a line of a table, and a folder of such lines.

The tables of MedIS count steps to the first success of each loss by itself, which no row of an
ordinary evaluation holds: a row says what came of an attack as a whole.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from palpate.atomic import replacing
from palpate.evaluation.results.fingerprint import Fingerprint, describe_differences, differences

UNTARGETED = "untargeted"  # target of the lines without one

_MADE_OF = "medis.json"


class LineIdentity(NamedTuple):
    """What makes a line this line: two of one folder never agree in all of these."""

    dataset: str
    split: str
    key: str
    prompt_level: str
    prompt: str
    target: str
    loss: str
    seed: int
    protocol: str


@dataclass(frozen=True)
class Line:
    """One image, one target, one loss.

    ``miou_target``, ``miou_truth``, ``dsc_truth`` and ``linf`` are measured afterwards, on the
    image that the attack gave; without a target the first two are the same.
    """

    dataset: str
    split: str
    key: str
    image_name: str
    structure: str
    group: str
    prompt_level: str
    prompt: str

    target: str  # UNTARGETED, or one of palpate.attacks.targets.TARGETS
    loss: str
    seed: int
    protocol: str  # "sound", or "notebooks" where all is done as they do it

    skipped: bool  # left alone, for the target is the image's own mask
    already: bool  # the clean image meets the threshold as it is
    success: bool
    steps: int  # to the first success; without one, to the best score
    score: float  # what success is judged by, there
    score_clean: float
    flat: bool  # no gradient at some step, though there was something to do

    target_area: float  # share of the image
    miou_target: float
    miou_truth: float
    dsc_truth: float
    linf: float  # in units of pixel value

    forwards: float
    backwards: float
    seconds: float

    @property
    def identity(self) -> LineIdentity:
        return LineIdentity(*(getattr(self, name) for name in LineIdentity._fields))


_ARROW_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
SCHEMA = pa.schema([(f.name, _ARROW_TYPES[f.type]) for f in fields(Line)])  # type: ignore[index]


class LineStore:
    """A folder of lines, written part by part, each part whole or absent.

    Args:
        folder: Made if missing.
        fingerprint: What the lines are made of.

    Raises:
        ValueError: If the folder holds lines made of something else, or a damaged part.
    """

    def __init__(self, folder: Path | str, fingerprint: Fingerprint) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._claim(fingerprint)
        columns = [list(self.frame()[name]) for name in LineIdentity._fields]
        self._done = {LineIdentity(*values) for values in zip(*columns, strict=True)}

    def done(self, identity: LineIdentity) -> bool:
        """Whether this line was added, now or by an earlier process."""
        return identity in self._done

    def add(self, lines: Sequence[Line]) -> int:
        """Write lines, in one file or not at all, and say how many were new."""
        new = [line for line in lines if line.identity not in self._done]
        if not new:
            return 0
        table = pa.Table.from_pylist([asdict(line) for line in new], schema=SCHEMA)
        # The time comes first so that parts sort by age.
        path = self.folder / f"part-{time.time_ns():020d}-{uuid4().hex[:8]}.parquet"
        with replacing(path) as temporary:
            pq.write_table(table, temporary)
        self._done.update(line.identity for line in new)
        return len(new)

    def frame(self) -> pd.DataFrame:
        """All lines of the folder, the oldest first."""
        return read_lines(self.folder)

    def _claim(self, fingerprint: Fingerprint) -> None:
        path = self.folder / _MADE_OF
        stored: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if stored and (differing := differences(fingerprint, stored)):
            raise ValueError(
                f"{self.folder} holds lines of another evaluation: they differ in "
                f"{describe_differences(differing)}. Choose another folder or delete that one; "
                "nothing was changed."
            )
        with replacing(path) as temporary:
            merged = stored | dict(fingerprint)
            temporary.write_text(json.dumps(merged, indent=2, sort_keys=True), encoding="utf-8")


def read_lines(folder: Path | str) -> pd.DataFrame:
    """All lines of a folder, the oldest first; none if there is no such folder.

    Raises:
        ValueError: If a part is damaged.
    """
    table = pa.concat_tables([SCHEMA.empty_table(), *_parts(Path(folder))])
    frame: pd.DataFrame = table.to_pandas()
    return frame.drop_duplicates(list(LineIdentity._fields), ignore_index=True)


def _parts(folder: Path) -> Iterator[pa.Table]:
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            yield pq.read_table(path, schema=SCHEMA)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{path} is damaged or holds no lines of MedIS ({error}). Move that file "
                "away and run again: its lines are computed anew."
            ) from error
