"""Renders the page: one HTML file that works offline and contains only escaped text."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup

from palpate.atomic import write_text
from palpate.evaluation.results.rows import metrics_in
from palpate.evaluation.sanity import Check, worst
from palpate.reporting.acceptance import wording
from palpate.reporting.acceptance.verdict import Verdict
from palpate.reporting.figures import figures
from palpate.reporting.figures.figures import Chart
from palpate.reporting.html import listing
from palpate.reporting.html.gallery import Gallery
from palpate.reporting.html.headline import FacetScores
from palpate.reporting.labels import (
    AFTER,
    BEFORE,
    attack_label,
    colours,
    epsilon_label,
    norm_label,
    seconds_label,
)
from palpate.reporting.numbers.checked_rows import IMAGE, OF, RUN, SAMPLE, gaps, listed, records
from palpate.reporting.numbers.focus import Focus
from palpate.reporting.numbers.worst_case import without_worst_case
from palpate.reporting.tables.table import Table
from palpate.reporting.tables.write import tally

# Around the verdict, so that it can be exchanged; text of the user is escaped and has no comments.
_BEGIN, _END = (Markup(f"<!-- verdict: {place} -->") for place in ("begin", "end"))
VERDICT_KINDS = {"met": "pass", "not met": "fail", "undecided": "warn"}  # colours of the chips
_STATUS = {"pass": "pass", "warn": "warn", "fail": "fail", "not_run": "not run"}


@dataclass(frozen=True)
class Content:
    """Content of the page, computed elsewhere."""

    title: str
    headline: str
    rows: pd.DataFrame
    scores: pd.DataFrame
    focus: Focus | None
    findings: Sequence[FacetScores]
    meanings: Sequence[tuple[str, str]]
    tables: Sequence[Table]
    charts: Sequence[Chart]
    galleries: Sequence[Gallery]
    thumbnails: Mapping[tuple[str, str], str]
    sanity: Sequence[Check]
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    is_run_folder: bool = False
    evaluations: Sequence[str] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    verdict: Verdict | str | None = None
    about: Mapping[str, str] = field(default_factory=dict)


def write_page(content: Content, path: Path) -> Path:
    """Render the page and write it to ``path``, whose folder is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render(content))
    return path


def exchange_verdict(verdict: Verdict, path: Path) -> bool:
    """Exchange the verdict on a page, and leave the rest of the page as it is.

    Returns:
        Whether the page has a place for it; pages of earlier versions have none.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        return False
    template = _templates().get_template("verdict.html.j2")
    block = template.render(acceptance=_acceptance(verdict), verdict=verdict)
    write_text(path, f"{before}{begin}\n{block}  {end}{after}")
    return True


def render(content: Content) -> str:
    """The page as text."""
    environment = _templates()
    style, script = (_packaged(environment, name) for name in ("page.css", "page.js"))
    return environment.get_template("page.html.j2").render(
        content=content,
        style=style,
        script=script,
        # The content security policy lets a browser run this script only and load nothing.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        before=BEFORE,
        after=AFTER,
        point=_point(content.focus),
        provenance=provenance(content.rows),
        conditions=_conditions(content.scores),
        metrics=[metric for metric in metrics_in(content.rows) if metric.primary],
        charts=_charts(content.charts),
        lines=listing.lines(content.rows, content.focus),
        radii=listing.radius_labels(content.rows, content.focus),
        attack=attack_label(content.focus.attack) if content.focus else "",
        gaps=gaps(content.rows),
        tally=tally(content.sanity),
        card=worst(check.status for check in content.sanity),
        begin=_BEGIN,
        end=_END,
        acceptance=_acceptance(content.verdict),
        verdict=content.verdict,
        statuses=_STATUS,
        config=_as_yaml(content.config),
        environment=_as_yaml(content.environment),
    )


@cache
def _templates() -> jinja2.Environment:
    """The templates of this room; several reports in one process compile them once."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("palpate.reporting.html", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"two": _two, "percent": _percent, "seconds": seconds_label}
    return environment


def _acceptance(verdict: Verdict | str | None) -> dict[str, Any] | None:
    if not isinstance(verdict, Verdict):
        return None
    return {
        "verdict": verdict.verdict,
        "kind": VERDICT_KINDS[verdict.verdict],
        "heading": wording.heading(verdict),
        "lines": wording.lines(verdict),
        "kinds": VERDICT_KINDS,
        "multiplicity": verdict.multiplicity,
        "fixing": str(verdict.fixing),
        "beforehand": verdict.fixing.beforehand,
    }


def _packaged(environment: jinja2.Environment, name: str) -> Markup:
    """Read a packaged file without escaping it; never used for text of the user."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _charts(charts: Sequence[Chart]) -> list[dict[str, Any]]:
    return [
        {
            "name": chart.name,
            "title": chart.title,
            "caption": chart.caption,
            "svgs": {facet: Markup(svg) for facet, svg in figures.inline(chart).items()},
            "legend": figures.legend_of(chart),
        }
        for chart in charts
    ]


def _conditions(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of the main table, with what a browser needs to sort and colour them."""
    hues = colours([a for a in scores["attack"].unique() if a != "clean"])
    return [
        line
        | {
            "label": attack_label(line["attack"]),
            "radius": "–"
            if line["attack"] == "clean"
            else epsilon_label(line["epsilon"], line["norm"]),
            "colour": hues.get(line["attack"], "var(--ink)"),
        }
        for line in records(scores)
    ]


def provenance(rows: pd.DataFrame) -> dict[str, str]:
    """Facts about the rows; samples that several runs share count once."""
    first, runs = rows.iloc[0], 1
    samples = rows.drop_duplicates(IMAGE)
    if RUN in rows.columns:
        runs = rows[RUN].nunique()
        # Each run has its own name for the data and may have used other prompts.
        samples = samples.assign(dataset=samples[OF]).drop_duplicates(SAMPLE)
    images = samples.drop_duplicates(["dataset", "image_name"])
    return {
        "protocol": str(first["protocol"]),
        "seed": listed(rows["seed"]),
        "split": listed(rows["split"]),
        "samples": _samples(len(samples), len(images)) + (f" in {runs} runs" if runs > 1 else ""),
        "groups": _groups(int(images.groupby("dataset")["group"].nunique().sum()), len(images)),
        "rows": f"{len(without_worst_case(rows)):,}",
        "prompts": listed(rows["prompt_level"]),
        "empty masks": str(int((samples["mask_area"] == 0).sum())),
    }


def _samples(samples: int, images: int) -> str:
    """Describe what n counts: images, or samples if an image has several.

    >>> _samples(9, 7), _samples(5, 5)
    ('9 samples (image, mask and prompt) of 7 images', '5 images')
    """
    counted = f"{images} image{'s' * (images != 1)}"
    return (
        counted if samples == images else f"{samples} samples (image, mask and prompt) of {counted}"
    )


def _groups(groups: int, images: int) -> str:
    """The independent units of intervals and tests.

    >>> _groups(2, 5), _groups(5, 5)
    ('2 patients or groups', 'no patients known')
    """
    return f"{groups} patients or groups" if groups < images else "no patients known"


def _point(focus: Focus | None) -> str:
    return "" if focus is None else norm_label(focus.attack, focus.norm, focus.epsilon)


def _as_yaml(value: Mapping[str, Any]) -> str:
    if not value:
        return ""
    plain = json.loads(json.dumps(value, default=str))
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    return text


def _two(value: float | None) -> str:
    """Two decimals, a dash for what is unknown, and a real minus sign."""
    if value is None or pd.isna(value):
        return "–"
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # adding 0 turns -0 into 0


def _percent(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{100 * value:.0f} %"
