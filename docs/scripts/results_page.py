"""Write ``docs/results.md``: each section comes from one script and is replaced as a whole."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import yaml

DOCS = Path(__file__).resolve().parents[1]
PAGE = DOCS / "results.md"
SECTIONS = ("tuned", "tiny", "models", "attacks", "universal", "published")

_INTRODUCTION = (
    "# Results\n\nThe scripts in `docs/scripts` make this page from run folders; no number is "
    "typed by hand. Each section begins with the commands that repeat it.\n"
)


def put_section(name: str, lines: Iterable[str]) -> None:
    """Write or replace a section; the others stay as they are."""
    found = dict(_read())
    found[name] = "\n".join(lines).strip()
    parts = [f"<!-- {key} -->\n\n{found[key]}\n" for key in SECTIONS if key in found]
    PAGE.write_text("\n".join([_INTRODUCTION, _contents(parts), *parts]), encoding="utf-8")
    print(PAGE)


def _contents(parts: Iterable[str]) -> str:
    """Links to the sections, by the anchors that GitHub gives to headings."""
    headings = re.findall(r"^## (.+)$", "".join(parts), flags=re.MULTILINE)
    anchors = (re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings)
    return "".join(f"- [{h}](#{a})\n" for h, a in zip(headings, anchors, strict=True))


def _read() -> list[tuple[str, str]]:
    if not PAGE.is_file():
        return []
    parts = re.split(r"^<!-- (\w+) -->$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [(name, text.strip()) for name, text in zip(parts[1::2], parts[2::2], strict=True)]


def markdown(frame: pd.DataFrame) -> list[str]:
    """A data frame as the lines of a Markdown table."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def machine(environment: dict[str, object]) -> str:
    """One sentence on hardware and versions, from ``environment.json`` as read."""
    packages = environment["packages"]
    assert isinstance(packages, dict)
    return (
        f"Machine: {environment['processor']}, {environment['cores']} cores, "
        f"{environment['threads']} of them used; Python {environment['python']}, torch "
        f"{packages['torch']}, transformers {packages['transformers']}, MONAI {packages['monai']}."
    )


def machine_of(environment: Path) -> str:
    """One sentence on hardware and versions of a run, from the path of its ``environment.json``."""
    values: dict[str, object] = json.loads(environment.read_text(encoding="utf-8"))
    return machine(values)


def command(recipe: str, run: Path) -> str:
    """The command that repeats a run or its sweep, with the limit set beside the recipe."""
    limit = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data"]["test_limit"]
    limited = f" --data.test-limit {limit}" if limit is not None else ""
    return f"palpate run --config recipes/{recipe}.yaml{limited}"


def subordinate(table: str) -> str:
    """A table of a report with its heading one level down."""
    return re.sub(r"^## ", "### ", table, flags=re.MULTILINE)
