"""Fingerprints: everything that a set of rows depends on, so that different rows are not mixed.

A fingerprint is a flat mapping from names to text: the hash of the weights, the hash of the data,
the protocol, and every setting that changes a result. Two sets of rows belong together if their
fingerprints are equal. Only names that begin with ``attack.`` or ``model.`` may be missing on one
side: attacks can be added to existing rows, and older rows have fewer entries about the model.
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
# The module path between a top-level package of palpate and the name of a function or class,
# such as ".losses.basic" in "palpate.attacks.losses.basic.margin".
_FILES = re.compile(r"\b(palpate\.\w+)(?:\.[a-z_][a-z0-9_]*)+(?=\.[A-Za-z_])")
# The hash of its path that the module of a user's file has, as in "mine_6d0541f8.attack".
_PLACE = re.compile(r"\b(\w+)_[0-9a-f]{8}(?=\.[A-Za-z_])")


def differences(ours: Fingerprint, theirs: Fingerprint) -> dict[str, tuple[str, str]]:
    """Return the entries in which two fingerprints differ: by name, our value and their value.

    Older fingerprints name functions of palpate with their full module path. Modules are ignored
    in the comparison, because functions move between them and their names are unique within a
    top-level package. They also have the place of a user's file; its source is hashed anyway.

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
    return _PLACE.sub(r"\1", _FILES.sub(r"\1", value))


def describe_differences(differing: Mapping[str, tuple[str, str]]) -> str:
    """Format differences in one line: ``weights (a here, b there), protocol (…)``."""
    return ", ".join(f"{name} ({a} here, {b} there)" for name, (a, b) in differing.items())


def hash_data(data: object, cases: Iterable[Case]) -> str:
    """Hash the cases of all samples, in order, and the image size of the data set.

    Pixels are not read. If files may change while their names stay, hash them yourself. The values
    picked from masks are part of the hash where some are picked.
    """
    digest = blake2b(repr(getattr(data, "size", None)).encode(), digest_size=16)
    if rules := getattr(data, "mask_rules", ""):
        digest.update(rules.encode())
    for case in cases:
        digest.update(json.dumps(astuple(case)).encode())
    return digest.hexdigest()
