"""Published splits: lists of image names with their source.

The lists are stored as published, including errors, so that published results can be reproduced.
:attr:`PublishedSplit.defects` lists the errors; :meth:`PublishedSplit.mended` returns a corrected
split for new experiments.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import combinations
from typing import Any

from palpate.data.annotations import SPLITS
from palpate.errors import did_you_mean

_FILE = "published.json.gz"


@dataclass(frozen=True)
class PublishedSplit:
    """The published split of one data set.

    Attributes:
        dataset: Name of the data set.
        names: Image names by split, repetitions included.
        title: Citation of the publication.
        url: Address of the lists.
        commit: Commit of the lists in their repository.
        licence: Licence of the files that contain the names.
    """

    dataset: str
    names: Mapping[str, tuple[str, ...]]
    title: str
    url: str
    commit: str
    licence: str

    @property
    def defects(self) -> tuple[str, ...]:
        """Errors of the split, one sentence each; empty for most data sets."""
        return tuple(_defects(self.names))

    def mended(self) -> dict[str, str]:
        """Split of each image; images in several splits go to test if listed there, else to val."""
        # SPLITS is in the order train, val, test, so that the last one listed wins.
        return {name: split for split in SPLITS for name in self.names.get(split, ())}


def published_split(dataset: str) -> PublishedSplit:
    """Load the published split of a data set.

    Raises:
        ValueError: If no published split of this data set is known.
    """
    content = _read()
    if dataset not in content["sets"]:
        raise ValueError(
            f"Expected a data set with a published split, {', '.join(content['sets'])}; got "
            f"{dataset!r}.{did_you_mean(dataset, content['sets'])}"
        )
    lists = content["sets"][dataset]
    names = {split: tuple(lists[split].split()) for split in SPLITS if lists[split]}
    return PublishedSplit(dataset, names, **content["source"])


def published_sets() -> tuple[str, ...]:
    """Names of the data sets whose published split is known."""
    return tuple(_read()["sets"])


@cache
def _read() -> dict[str, Any]:
    packed = files("palpate.data.splits").joinpath(_FILE).read_bytes()
    content: dict[str, Any] = json.loads(gzip.decompress(packed))
    return content


def _defects(names: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for split, some in names.items():
        repeated = [name for name, count in Counter(some).items() if count > 1]
        if repeated:
            yield f"{split} lists {', '.join(repeated)} more than once."
    for one, other in combinations(names, 2):
        shared = sorted(set(names[one]) & set(names[other]))
        if shared:
            yield f"{one} and {other} share {', '.join(shared)}."
