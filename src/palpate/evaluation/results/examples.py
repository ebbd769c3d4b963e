"""A few images kept for the eye: what the model saw, what it answered, what was true.

One ``.npz`` file for each sample, attack and strength, the clean image being the attack named
``clean``. Each file stands for itself and holds

- ``image``: float32 ``(3, h, w)`` in [0, 1], bit for bit what the model was given;
- ``mask`` and ``prediction``: bool ``(h, w)``;
- ``row``: the row of results as JSON text.

Nothing is pickled, and ``numpy.load(path)`` opens a file without palpate.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.atomic import replacing
from palpate.data.sample import Case
from palpate.evaluation.results.rows import Identity, Row


@dataclass(frozen=True)
class Example:
    """One image as the model saw it, and its row."""

    row: Row
    image: Float[np.ndarray, "3 h w"]
    mask: Bool[np.ndarray, "h w"]
    prediction: Bool[np.ndarray, "h w"]


class ExampleStore:
    """A folder of examples.

    Args:
        folder: Made when the first example is saved.
        count: How many samples to keep, each with all its attacks.
    """

    def __init__(self, folder: Path | str, count: int = 4) -> None:
        self.folder, self.count = Path(folder), count

    def choose(self, cases: Sequence[Case]) -> frozenset[str]:
        """Keys of the samples to keep: one of each group before two of any, groups in order.

        Where there are more groups than wanted, they are taken at equal distances.
        """
        groups: dict[str, list[str]] = {}
        for case in cases:
            groups.setdefault(case.group, []).append(case.key)
        rounds = [[key for key in keys if key] for keys in zip_longest(*groups.values())]
        spread = _evenly(rounds[0], self.count) if rounds else []
        rest = [key for keys in rounds[1:] for key in keys]
        return frozenset([*spread, *rest][: self.count])

    def has(self, identity: Identity) -> bool:
        """Whether this example was saved, now or by an earlier process."""
        return self._path(identity).exists()

    def save(
        self,
        row: Row,
        image: Float[Tensor, "3 h w"],
        mask: Bool[Tensor, "1 h w"],
        prediction: Bool[Tensor, "1 h w"],
    ) -> Path:
        """Write one example; one that is there already is replaced."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(row.identity)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                image=image.float().cpu().numpy(),
                mask=mask[0].cpu().numpy(),
                prediction=prediction[0].cpu().numpy(),
                row=np.array(json.dumps(row.columns())),
            )
        return path

    def _path(self, identity: Identity) -> Path:
        name = f"{identity.key}-{identity.attack}-{identity.epsilon * 255:g}"
        # Not the columns of MedIS, which has no examples: files of older runs are named without.
        values = tuple(identity)[: Identity._fields.index("target")]
        unique = blake2b(repr(values).encode(), digest_size=4).hexdigest()
        return self.folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:120]}-{unique}.npz"


def read_examples(folder: Path | str) -> list[Example]:
    """All examples of a folder, by sample and attack, weakest first; none if it is missing.

    Raises:
        ValueError: If a file is damaged or foreign.
    """
    examples = [_read(path) for path in sorted(Path(folder).glob("*.npz"))]
    return sorted(examples, key=lambda e: (e.row.key, e.row.attack, e.row.epsilon))


def _read(path: Path) -> Example:
    try:
        # Opened here, because numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            row = Row.of(json.loads(str(arrays["row"])))
            return Example(row, arrays["image"], arrays["mask"], arrays["prediction"])
    except Exception as error:  # numpy and zipfile raise a dozen kinds
        raise ValueError(
            f"{path} is no example of palpate or is damaged ({error}). Move it away."
        ) from error


def _evenly(keys: Sequence[str], count: int) -> list[str]:
    count = min(count, len(keys))
    return [keys[position * len(keys) // count] for position in range(count)]
