"""The sheet for auditors: what was tested, on what, how, the verdict, and what it does not say."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import jinja2
import pandas as pd

from palpate.evaluation.results.kinds import kinds
from palpate.evaluation.sanity import Check
from palpate.reporting.acceptance import wording
from palpate.reporting.acceptance.verdict import Verdict
from palpate.reporting.html.page import Content, provenance
from palpate.reporting.labels import attack_label, norm_label, radius_label
from palpate.reporting.numbers.checked_rows import gaps
from palpate.reporting.tables.table import percent_interval
from palpate.reporting.tables.write import tally

_MOST = {"criteria": 9, "facets": 8, "subgroups": 12, "checks": 4, "gaps": 3}
_FEW = 20  # independent groups; with fewer, a failure of one image in ten is often not seen


@cache
def templates() -> jinja2.Environment:
    """The templates of this room."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("palpate.reporting.pdf", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_sheet(content: Content, sizes: pd.DataFrame, rerun: str) -> str:
    """The sheet as HTML, of two pages.

    Args:
        content: Content of the page.
        sizes: DSC by mask size.
        rerun: Command that repeats the run, or empty.
    """
    verdict = content.verdict if isinstance(content.verdict, Verdict) else None
    facts = provenance(content.rows)
    criteria = wording.lines(verdict) if verdict else []
    return templates().get_template("sheet.html.j2").render(
        title=content.title,
        headline=content.headline,
        verdict=verdict,
        heading=wording.heading(verdict) if verdict else "",
        criteria=criteria[: _MOST["criteria"]],
        more_criteria=max(0, len(criteria) - _MOST["criteria"]),
        about=content.about,
        facts=facts,
        varied=list(_varied(content)),
        not_varied=_not_varied(content),
        point=_point(content),
        results=list(_results(content))[: _MOST["facets"]],
        subgroups=list(_subgroups(content, sizes))[: _MOST["subgroups"]],
        tally=tally(content.sanity),
        checks=[c for c in content.sanity if c.status in ("fail", "warn")][: _MOST["checks"]],
        limitations=list(_limitations(content)),
        rerun=rerun,
    )  # fmt: skip


def _varied(content: Content) -> Iterator[tuple[str, str]]:
    """Each attack with its radii."""
    scores = content.scores[content.scores["attack"] != "clean"]
    for attack, part in scores.groupby("attack", sort=False):
        radii = dict.fromkeys(zip(part["norm"], part["epsilon"], strict=True))
        yield attack_label(str(attack)), ", ".join(radius_label(n, float(e)) for n, e in radii)


def _not_varied(content: Content) -> str:
    words = bool(kinds(content.rows).isin(["text", "joint"]).any())
    prompts = [] if words else ["the prompt"]
    listed = [
        *prompts,
        "scanner, site and protocol",
        "image artefacts",
        "training data (poisoning)",
    ]
    return f"{', '.join(listed)} and physical attacks"


def _point(content: Content) -> str:
    focus = content.focus
    return norm_label(focus.attack, focus.norm, focus.epsilon) if focus else ""


def _results(content: Content) -> Iterator[dict[str, Any]]:
    for found in content.findings:
        scores = {"clean": found.clean, "attacked": found.attacked, "noise": found.noise}
        shown = {
            name: "–" if score is None else _percent(score.mean, score.low, score.high)
            for name, score in scores.items()
        }
        yield {"facet": found.facet, "n": found.n, **shown}


def _subgroups(content: Content, sizes: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """DSC by mask size, clean and in the focus condition."""
    if sizes.empty:
        return
    focus = content.focus
    for (facet, size), part in sizes.groupby(["facet", "size"], sort=False):
        clean = part[part["attack"] == "clean"].iloc[0]
        hit = part.iloc[:0]
        if focus is not None:
            same = (part["norm"] == focus.norm) & (part["epsilon"] == focus.epsilon)
            hit = part[(part["attack"] == focus.attack) & same]
        yield {
            "facet": facet,
            "size": f"{size} masks",
            "n": int(clean["n"]),
            "clean": percent_interval(clean, "dsc"),
            "attacked": percent_interval(hit.iloc[0], "dsc") if len(hit) else "–",
        }


def _limitations(content: Content) -> Iterator[str]:
    rows = content.rows
    groups = int(rows.groupby("dataset")["group"].nunique().min())
    if groups < _FEW:
        yield (
            f"There are only {groups} independent images or patients: failures of one image in "
            "ten may not have been seen, and this result should not be generalised."
        )
    if rows["dataset"].astype(str).str.startswith("phantom").any():
        yield "The images are synthetic (phantoms)."
    if missing := gaps(rows):
        more = f" and {len(missing) - _MOST['gaps']} more" if len(missing) > _MOST["gaps"] else ""
        yield f"The run is not complete: {'; '.join(missing[: _MOST['gaps']])}{more}."
    if doubts := [check for check in content.sanity if check.status in ("fail", "warn")]:
        yield f"The sanity card has doubts: {_named(doubts)}."
    if unlooked := [check for check in content.sanity if check.status == "not_run"]:
        yield f"Checks that were not run: {_named(unlooked)}."
    if isinstance(content.verdict, Verdict) and not content.verdict.fixing.beforehand:
        yield "The criteria were not fixed before the run, so they may have been chosen to fit it."
    yield (
        "An attack gives an upper bound of robustness: a stronger attack may lower these scores. "
        "The result holds for these images, this model and these attacks only."
    )
    yield "palpate is a research tool; nothing here shows that a model is safe for clinical use."


def _named(checks: list[Check]) -> str:
    shown = [f"{check.number}. {check.name}" for check in checks[: _MOST["checks"]]]
    more = len(checks) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _percent(mean: float, low: float, high: float) -> str:
    if pd.isna(low):
        return f"{100 * mean:.1f}"
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
