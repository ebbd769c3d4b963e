"""Tests that docs/formats.md says how every kind of file is read today."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "scripts"))
try:
    from formats_kind import shortened
    from make_formats import PAGE, SECTIONS, page
finally:
    sys.path.remove(str(ROOT / "docs" / "scripts"))

KINDS = [kind for _, _, kinds in SECTIONS for kind in kinds]


def committed(kind):
    """The line of the page on a kind of file."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if line.startswith(f"| {kind.name} | ")]
    assert len(found) == 1, "run python docs/scripts/make_formats.py"
    return found[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_of_file_is_read_as_the_page_says(kind):
    if kind.missing:
        pytest.skip(f"the package {kind.missing[0]} is not installed")
    assert kind.row() == committed(kind), "run python docs/scripts/make_formats.py"


def test_the_page_has_these_lines_and_no_others():
    assert page(committed) == PAGE.read_text(encoding="utf-8")


def test_every_option_of_the_page_reads_its_file_right():
    for kind in KINDS:
        if kind.options:
            told = committed(kind).split(" | ")[-1].partition("; ")[0].removesuffix(" |")
            assert not re.search(r"refused|not as|inverted|wrong|other", told), told
            assert re.search(r"as drawn|as written|same logits and gradient", told), told


def test_messages_are_shortened_to_what_happened_and_what_to_do():
    assert shortened("Expected masks (1):\n  masks/a.png: 0 (64 %), 1 (36 %)\nSay which.") == (
        "0 (64 %), 1 (36 %)"
    )
    long = f"The file cannot be read: {'because of this ' * 20}. Write it again."
    assert shortened(long) == "The file cannot be read … Write it again."
