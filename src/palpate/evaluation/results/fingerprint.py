"""Fingerprints: what a set of rows was made of, so that it is not mixed with other rows.

A fingerprint is a flat mapping of names to text: the hash of the weights, the hash of the data,
the protocol, every setting that changes a number. Two sets of rows belong together if their
fingerprints agree on every name that they share. Names that begin with ``attack.`` may be missing
on one side, so that an attack can be added to existing rows; so may those that begin with
``model.``, because older rows have fewer of them.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from hashlib import blake2b
from typing import TypeAlias

from palpate.data.sample import Case

Fingerprint: TypeAlias = Mapping[str, str]

_MAY_LACK = ("attack.", "model.")
# The files between a stage of palpate and the name of a function or class:
# ".losses.basic" in "palpate.attacks.losses.basic.margin".
_FILES = re.compile(r"\b(palpate\.\w+)(?:\.[a-z_][a-z0-9_]*)+(?=\.[A-Za-z_])")


def differences(ours: Fingerprint, theirs: Fingerprint) -> dict[str, tuple[str, str]]:
    """The entries in which two fingerprints differ, by name: the value here and the value there.

    Older fingerprints name functions of palpate with the file that they were in. Files do not
    count: functions are moved between them, and their names are unique within a stage.

    >>> differences({"weights": "a", "attack.pgd": "pgd()"}, {"weights": "b"})
    {'weights': ('a', 'b')}
    >>> before, now = "palpate.attacks.pgd.pgd()", "palpate.attacks.pgd()"
    >>> differences({"attack.pgd": before}, {"attack.pgd": now})
    {}
    """
    names = sorted(ours.keys() | theirs.keys())
    pairs = {name: (ours.get(name, "absent"), theirs.get(name, "absent")) for name in names}
    return {
        name: pair
        for name, pair in pairs.items()
        if _without_files(pair[0]) != _without_files(pair[1])
        and not (name.startswith(_MAY_LACK) and "absent" in pair)
    }


def _without_files(value: str) -> str:
    return _FILES.sub(r"\1", value)


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
