"""What a set of rows was made of, and the refusal to mix it with anything else.

A fingerprint is a flat mapping of names to text: the hash of the weights, the hash of the data,
the protocol, every setting that changes a number. Two sets of rows belong together when their
fingerprints agree on every name that they share. Names that begin with ``attack.`` may be missing
on one side, so that an attack can be added to rows that exist; so may those that begin with
``model.``, of which rows from before say less.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from hashlib import blake2b
from typing import TypeAlias

from palpate.data.sample import Case

Fingerprint: TypeAlias = Mapping[str, str]

_MAY_LACK = ("attack.", "model.")


def differences(ours: Fingerprint, theirs: Fingerprint) -> dict[str, tuple[str, str]]:
    """What keeps two sets of rows apart, by name: the value here and the value there.

    >>> differences({"weights": "a", "attack.pgd": "pgd()"}, {"weights": "b"})
    {'weights': ('a', 'b')}
    """
    names = sorted(ours.keys() | theirs.keys())
    pairs = {name: (ours.get(name, "absent"), theirs.get(name, "absent")) for name in names}
    return {
        name: pair
        for name, pair in pairs.items()
        if pair[0] != pair[1] and not (name.startswith(_MAY_LACK) and "absent" in pair)
    }


def describe_differences(differing: Mapping[str, tuple[str, str]]) -> str:
    """One line for a reader: ``weights (a here, b there), protocol (…)``."""
    return ", ".join(f"{name} ({a} here, {b} there)" for name, (a, b) in differing.items())


def hash_data(data: object, cases: Iterable[Case]) -> str:
    """Hash of what is known about every sample, in order, and of the ``size`` images get.

    Pixels are not read: hash the files yourself where they may change under their names.
    """
    digest = blake2b(repr(getattr(data, "size", None)).encode(), digest_size=16)
    for case in cases:
        digest.update(json.dumps(astuple(case)).encode())
    return digest.hexdigest()
