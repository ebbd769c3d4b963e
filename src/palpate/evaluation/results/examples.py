"""Examples: images of a few samples with prediction and ground truth, saved for figures.

There is one ``.npz`` file per sample, attack and epsilon; the clean image is saved as the attack
``clean``. Each file is self-contained and holds

- ``image``: float32 ``(3, h, w)`` in [0, 1], bit for bit what the model was given;
- ``mask`` and ``prediction``: bool ``(h, w)``;
- ``row``: the row of results, as JSON text.

Nothing is pickled, so ``numpy.load(path)`` opens a file without palpate.
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
        folder: Folder of the files; created when the first example is saved.
        count: Number of samples to save, each with all its attacks.
    """

    def __init__(self, folder: Path | str, count: int = 4) -> None:
        self.folder, self.count = Path(folder), count

    def choose(self, cases: Sequence[Case]) -> frozenset[str]:
        """Choose the samples to save; return their keys.

        One sample is taken of each group before a second one of any group. If there are more
        groups than samples wanted, groups at equal distances are taken.
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
        """Write one example, replacing an existing one; return the path of the file."""
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
        # Leave out the MedIS columns, so that names match the files of older runs; MedIS itself
        # saves no examples.
        values = tuple(identity)[: Identity._fields.index("target")]
        unique = blake2b(repr(values).encode(), digest_size=4).hexdigest()
        return self.folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:120]}-{unique}.npz"


def read_examples(folder: Path | str) -> list[Example]:
    """Read all examples of a folder, sorted by sample, attack and epsilon.

    The result is empty if the folder does not exist.

    Raises:
        ValueError: If a file is damaged or is not an example of palpate.
    """
    examples = [_read(path) for path in sorted(Path(folder).glob("*.npz"))]
    return sorted(examples, key=lambda e: (e.row.key, e.row.attack, e.row.epsilon))


def _read(path: Path) -> Example:
    try:
        # Open the file here, because numpy does not close a damaged one.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            row = Row.of(json.loads(str(arrays["row"])))
            return Example(row, arrays["image"], arrays["mask"], arrays["prediction"])
    except Exception as error:  # numpy and zipfile raise many different types
        raise ValueError(
            f"{path} is no example of palpate or is damaged ({error}). Move it away."
        ) from error


def _evenly(keys: Sequence[str], count: int) -> list[str]:
    count = min(count, len(keys))
    return [keys[position * len(keys) // count] for position in range(count)]
