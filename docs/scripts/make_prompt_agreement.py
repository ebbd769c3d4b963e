"""Measure how far palpate's prompts agree with published ones; writes into docs/prompts.md.

    python docs/scripts/make_prompt_agreement.py DATA

DATA has ``kvasir_polyp``, ``isic``, ``busi`` and ``camus`` with masks, and the complete published
annotation files in ``published-annotations``.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from prompt_checks import SETS, Case, cases
from prompt_tables import agreement, answers, boxes, corner, place_rules, size_rules, speed
from results_page import DOCS, markdown

PAGE = DOCS / "prompts.md"


def main() -> None:
    """Measure, and replace every table of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    found = {name: list(cases(data, name)) for name in SETS}
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in _tables(data, found):
        text = _put(text, name, lines)
    PAGE.write_text(text, encoding="utf-8")
    print(PAGE)


def _tables(data: Path, found: dict[str, Sequence[Case]]) -> Iterator[tuple[str, list[str]]]:
    yield "agreement", markdown(agreement(found))
    yield "size", markdown(size_rules(found))
    yield "place", markdown(place_rules(found))
    yield "boxes", markdown(boxes(data / "published-annotations"))
    yield "corner", markdown(corner(found["kvasir_polyp"]))
    yield "answers", markdown(answers(data, found))
    yield "speed", [speed(found)]


def _put(text: str, name: str, lines: Sequence[str]) -> str:
    """The page with the text between the marks of one table replaced."""
    marks = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"Expected the marks of {name!r} in {PAGE}.")
    return marks.sub(lambda _: "\n".join(["", *lines, "", ""]), text, count=1)


if __name__ == "__main__":
    main()
