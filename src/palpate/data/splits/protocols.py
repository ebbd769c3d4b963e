"""Pools of data sets, and published protocols that train and test on different data sets."""

from collections.abc import Mapping
from dataclasses import dataclass

from palpate.data.annotations import ALL_SPLITS

# Names under which several data sets are loaded as one, as pooled in MedVLSM (Poudel et al., 2024,
# https://arxiv.org/abs/2308.07706).
POOLS: Mapping[str, tuple[str, ...]] = {
    "pooled-polyp": ("kvasir", "clinicdb", "bkai"),
    "pooled-all": (
        "kvasir", "clinicdb", "bkai", "isic", "dfu", "camus", "busi", "chexlocalize",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CrossDataset:
    """A published protocol with different data sets for training and testing.

    Attributes:
        train: Number of training images of each data set.
        test: Number of test images of each data set.
        reference: Citation.
    """

    train: Mapping[str, int]
    test: Mapping[str, int]
    reference: str

    def check_test(self, counts: Mapping[str, int]) -> None:
        """Raise an error if the numbers of test images differ from those of the protocol.

        Training images are not checked, since users hold out a validation split of their choice.

        Args:
            counts: Number of images of each data set.

        Raises:
            ValueError: If a number differs from that of the protocol.
        """
        wrong = [
            f"{name} {counts.get(name, 0)} instead of {number}"
            for name, number in self.test.items()
            if counts.get(name, 0) != number
        ]
        if wrong:
            raise ValueError(
                f"Expected the test images of the protocol ({self.reference}), got "
                f"{', '.join(wrong)}. Prepare them from its own download, or name the data sets "
                f"instead: {'+'.join(self.test)}."
            )


PROTOCOLS: Mapping[str, CrossDataset] = {
    # For data sets that were prepared one by one; PraNet's own download is the set ``pranet``.
    "cross-polyp": CrossDataset(
        train={"kvasir": 900, "clinicdb": 550},
        test={"kvasir": 100, "clinicdb": 62, "cvc300": 60, "colondb": 380, "etis": 196},
        reference="Fan et al., 2020, https://arxiv.org/abs/2006.11392",
    ),
    # MedVLSM's annotations of cvc300 are those of colondb by mistake; the set has 60 images.
    "pooled-medvlsm": CrossDataset(
        train={
            "kvasir": 800, "clinicdb": 490, "bkai": 800, "isic": 810, "dfu": 1600, "camus": 1600,
            "busi": 624, "chexlocalize": 412,
        },
        test={
            "kvasir": 100, "clinicdb": 61, "bkai": 100, "cvc300": 60, "colondb": 380, "etis": 196,
            "isic": 379, "dfu": 200, "camus": 200, "busi": 78, "chexlocalize": 138,
        },
        reference="Poudel et al., 2024, https://arxiv.org/abs/2308.07706",
    ),
}  # fmt: skip


def is_pool(name: str) -> bool:
    """Whether a name refers to several data sets.

    >>> is_pool("kvasir+busi"), is_pool("cross-polyp"), is_pool("kvasir")
    (True, True, False)
    """
    return "+" in name or name in POOLS or name in PROTOCOLS


def members(name: str, split: str = "train") -> tuple[str, ...]:
    """Data sets that a name refers to: a pool, a protocol, several joined by ``+``, or one.

    Args:
        name: The name.
        split: Split to load; the data sets of a protocol depend on it.

    >>> members("kvasir+busi"), members("kvasir"), members("cross-polyp", "test")[2:]
    (('kvasir', 'busi'), ('kvasir',), ('cvc300', 'colondb', 'etis'))

    Raises:
        ValueError: If a data set is named twice or not at all.
    """
    parts = tuple(one for part in name.split("+") for one in _members_of(part, split))
    if "" in parts or len(set(parts)) < len(parts):
        raise ValueError(f"Expected data sets joined by '+', each once, got {name!r}.")
    return parts


def _members_of(part: str, split: str) -> tuple[str, ...]:
    if part in PROTOCOLS:
        protocol = PROTOCOLS[part]
        if split == ALL_SPLITS:
            return tuple(dict.fromkeys((*protocol.train, *protocol.test)))
        return tuple(protocol.test if split == "test" else protocol.train)
    return POOLS.get(part, (part,))
