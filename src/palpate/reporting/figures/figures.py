"""Figures of the report: files with all data sets for a paper, single charts for the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from palpate.evaluation.metrics import Metric
from palpate.evaluation.results.rows import metrics_in
from palpate.reporting.figures import charts, drawing
from palpate.reporting.figures.panels import panel
from palpate.reporting.figures.strips import Panel, Strip
from palpate.reporting.labels import INTERVAL, attack_label, epsilon_label, norm_label
from palpate.reporting.numbers.checked_rows import CONDITION
from palpate.reporting.numbers.focus import Focus
from palpate.reporting.numbers.summary import Summary

_SIGNS = {
    "x": "×", "|": "|", "s": "■", "o": "●", "D": "◆",
    "^": "▲", "v": "▼", "P": "✚", "<": "◀", ">": "▶",
}  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """One kind of chart and the summary it draws; ``frame`` has a column ``facet``."""

    name: str
    title: str
    caption: str
    draw: drawing.Draw
    frame: pd.DataFrame
    legend: list[Any]
    height: float = 2.1
    share_y: bool = True

    @property
    def parts(self) -> list[tuple[str, pd.DataFrame]]:
        return [(str(name), part) for name, part in self.frame.groupby("facet", sort=False)]


def charts_of(rows: pd.DataFrame, summary: Summary, focus: Focus) -> Iterator[Chart]:
    """Choose the charts for which the rows have values."""
    of_norm = _of_norm(summary.scores, focus)
    attacks = [a for a in of_norm["attack"].unique() if a != "clean"]
    lines = drawing.attack_legend(attacks)
    point = norm_label(focus.attack, focus.norm, focus.epsilon)
    yield _damage(of_norm, lines)
    yield from _further(of_norm, lines, metrics_in(rows))
    ends = _of_norm(summary.failures, focus)
    yield Chart(
        name="outcomes",
        title="Outcomes",
        caption="Share of images by outcome: held (no failure), shifted, hallucinated or vanished.",
        draw=charts.outcomes,
        frame=ends,
        legend=charts.outcome_legend(),
        height=0.75 + 0.125 * int(ends.groupby("facet").size().max()),
        share_y=ends.groupby("facet")[CONDITION].apply(_listed).nunique() == 1,
    )
    yield Chart(
        name="clean-against-attacked",
        title=f"Image by image at {point.rpartition(' ')[2]}",
        caption="Each mark is one image: its DSC without attack and under each attack. On the "
        "diagonal the attack did not change DSC.",
        draw=charts.clean_against_attacked,
        frame=rows[(rows["norm"] == focus.norm) & (rows["epsilon"] == focus.epsilon)],
        legend=lines,
        height=2.3,
    )
    if not summary.sizes.empty:
        sizes = _of_norm(summary.sizes, focus)
        yield Chart(
            name="dsc-by-size",
            title=f"{attack_label(focus.attack)} by size of the mask",
            caption=f"Mean DSC under {attack_label(focus.attack)} for the third of the images "
            f"with the smallest, middle and largest masks; each band is the {INTERVAL}.",
            draw=charts.dsc_by_size,
            frame=sizes[sizes["attack"].isin(["clean", focus.attack])],
            legend=charts.size_legend(),
        )
    yield Chart(
        name="damage-over-cost",
        title="Drop of DSC over cost",
        caption=f"Mean drop of DSC, with its {INTERVAL}, over the passes through the model that "
        "the attack of one image took; one mark per radius.",
        draw=charts.damage_over_cost,
        frame=of_norm[of_norm["attack"] != "clean"],
        legend=lines,
    )


def _damage(scores: pd.DataFrame, legend: list[Any]) -> Chart:
    """DSC under attack: curves over ε, or a list where there is only one radius."""
    attacked = scores[scores["attack"] != "clean"]
    radii = attacked[["epsilon", "norm"]].drop_duplicates()
    if len(radii) == 1:
        return Chart(
            name="dsc-by-attack",
            title=f"DSC at {epsilon_label(*radii.iloc[0])}",
            caption=f"Mean DSC under each attack, with its {INTERVAL}; the dotted line "
            "is the clean score. Random noise of the same radius is the control.",
            draw=charts.dsc_by_attack,
            frame=scores,
            legend=[],
            height=0.75 + 0.15 * int(attacked.groupby("facet").size().max()),
            share_y=False,
        )
    return Chart(
        name="dsc-over-epsilon",
        title="DSC over ε",
        caption=f"Mean DSC over the radius ε; each band is the {INTERVAL}, the dotted line "
        "is the clean score. Random noise of the same radius is the control.",
        draw=charts.score_over_epsilon,
        frame=scores,
        legend=legend,
    )


def _further(scores: pd.DataFrame, legend: list[Any], metrics: Sequence[Metric]) -> Iterator[Chart]:
    """A curve over ε for each primary metric but DSC, and IoU, which DSC determines."""
    several = scores.loc[scores["attack"] != "clean", ["epsilon", "norm"]].drop_duplicates()
    for metric in metrics:
        if metric.primary and metric.name not in ("dsc", "iou") and len(several) > 1:
            yield Chart(
                name=f"{metric.name.replace('_', '-')}-over-epsilon",
                title=f"{metric.label} over ε",
                caption=f"Mean {metric.heading} over the radius ε ({metric.direction} is better); "
                f"each band is the {INTERVAL}, the dotted line is the clean score.",
                draw=partial(charts.score_over_epsilon, metric=metric),
                frame=scores,
                legend=legend,
            )


def text_chart(scores: pd.DataFrame) -> Chart:
    """The chart of attacks on the prompt; ``scores`` of :func:`text_tables.text_scores`."""
    return Chart(
        name="dsc-by-text",
        title="Attacks on the prompt",
        caption="Mean DSC when the prompt is changed and the image is not, with its "
        f"{INTERVAL}; the bar is the score of the same images before. Where the text means the "
        "same, DSC should not change.",
        draw=charts.dsc_by_text,
        frame=scores,
        legend=charts.text_legend(),
        height=0.75 + 0.15 * int(scores.groupby("facet").size().max()),
        share_y=scores.groupby("facet")[CONDITION].apply(_listed).nunique() == 1,
    )


def strength_charts(strengths: pd.DataFrame, focus: Focus) -> Iterator[Chart]:
    """The chart of strength over passes at one radius; numbers of ``attacks.strength_table``."""
    some = strengths[(strengths["norm"] == focus.norm) & (strengths["epsilon"] == focus.epsilon)]
    if some.empty:
        return
    yield Chart(
        name="dsc-over-passes",
        title=f"Strength over passes at {epsilon_label(focus.epsilon, focus.norm)}",
        caption=f"Mean DSC under each attack, with its {INTERVAL}, over the passes "
        "through the model, forward and backward, that the attack of one image took; one mark per "
        "budget. The lower curve is the stronger attack.",
        draw=charts.dsc_over_passes,
        frame=some.assign(attack=some["family"]),
        legend=drawing.attack_legend(list(some["family"].unique())),
    )


def write_charts(made: list[Chart], folder: Path) -> None:
    """Write each chart as small multiples, in PNG, PDF and SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    with drawing.house_style():
        for chart in made:
            figure = drawing.multiples(
                chart.draw,
                chart.parts,
                height=chart.height,
                legend=chart.legend,
                share_y=chart.share_y,
            )
            drawing.save(figure, folder, chart.name)


def write_panels(panels: dict[Panel, list[Strip]], folder: Path) -> None:
    """Write one figure of examples per data set, structure and attack, in PNG and PDF."""
    folder.mkdir(parents=True, exist_ok=True)
    with drawing.house_style():
        for (facet, attack, norm), some in panels.items():
            parts = ["panel", facet, attack, *([] if norm == "linf" else [norm])]
            figure = panel(facet, attack, some)
            drawing.save(figure, folder, drawing.slug(*parts), formats=("png", "pdf"))


def inline(chart: Chart) -> dict[str, str]:
    """The chart of each facet as an ``<svg>`` for the page."""
    with drawing.house_style():
        return {
            facet: drawing.inline_svg(
                drawing.single(chart.draw, part, height=chart.height),
                drawing.slug(chart.name, facet),
            )
            for facet, part in chart.parts
        }


def legend_of(chart: Chart) -> list[tuple[str, str, str]]:
    """Colour, sign and meaning of each entry of the legend, for the page to set in its type."""
    return [(*_sign(handle), str(handle.get_label())) for handle in chart.legend]


def _sign(handle: Any) -> tuple[str, str]:
    if isinstance(handle, Line2D):
        colour, sign = to_hex(handle.get_color()), _SIGNS[str(handle.get_marker())]
    else:
        colour, sign = to_hex(handle.get_facecolor()), "■"
    return drawing.PAGE_INKS.get(colour, colour), sign


def _listed(frame: pd.DataFrame) -> str:
    return repr(frame.to_numpy().tolist())


def _of_norm(frame: pd.DataFrame, focus: Focus) -> pd.DataFrame:
    """Radii of different norms cannot share an axis."""
    return frame[frame["norm"].isin(["", focus.norm])]
