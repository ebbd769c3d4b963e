"""Charts, each drawn on given axes for one data set and structure.

They draw the summaries of :mod:`palpate.reporting.numbers.summary` and compute no means of their
own, so that figures and tables agree.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from palpate.evaluation.metrics import METRICS, Metric
from palpate.reporting.figures.drawing import FAINT, INK, shorten
from palpate.reporting.labels import (
    CONTROL,
    FAILURE_COLOURS,
    FAILURES,
    SIZE_COLOURS,
    SIZE_MARKS,
    TEXT_COLOURS,
    TEXT_MARKS,
    attack_label,
    colours,
    epsilon_label,
    marks,
    norm_label,
    text_label,
)

_MOST_BANDS = 4
_WIDE = 16  # between the largest and the smallest radius: then the axis is logarithmic
_ASIDE = 0.02  # of a radius, between two neighbours


def score_over_epsilon(axis: Axes, scores: pd.DataFrame, metric: Metric = METRICS["dsc"]) -> None:
    """Mean of a metric under every attack and the control over epsilon, with interval bands.

    With more than four attacks the bands would overlap. Intervals are then drawn as error bars, and
    the points of different attacks are shifted horizontally.
    """
    clean = scores[scores["attack"] == "clean"].iloc[0]
    attacks = _attacks(scores)
    hues, shapes = colours(attacks), marks(attacks)
    crowded = len(attacks) > _MOST_BANDS
    axis.axhline(clean[metric.name], color=INK, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    for place, attack in enumerate(attacks):
        part = _with_clean(scores[scores["attack"] == attack], clean, metric)
        aside = (place - (len(attacks) - 1) / 2) * _ASIDE if crowded else 0.0
        radii = part["epsilon"] + aside * _unit_of_shift(part["epsilon"])
        low, high = part[f"{metric.name}_low"], part[f"{metric.name}_high"]
        if crowded:
            axis.vlines(radii, low, high, color=hues[attack], lw=1)
        else:
            axis.fill_between(radii, low, high, color=hues[attack], alpha=0.18, lw=0)
        axis.plot(
            radii,
            part[metric.name],
            color=hues[attack],
            linewidth=0.7 if crowded else None,
            marker=shapes[attack],
            linestyle="--" if attack == CONTROL else "-",
            clip_on=False,
            zorder=3,
        )
    _epsilon_axis(axis, scores)
    if crowded:
        beyond = 1.02 + len(attacks) / 2 * _ASIDE
        axis.set_xlim(right=beyond * float(scores["epsilon"].max()))
    if metric.is_share:
        _unit_axis(axis, metric.label)
    else:
        axis.set_ylabel(metric.heading)


def dsc_by_attack(axis: Axes, scores: pd.DataFrame) -> None:
    """Mean DSC under every attack at the only radius, lowest first."""
    clean = float(scores.loc[scores["attack"] == "clean", "dsc"].iloc[0])
    attacked = scores[scores["attack"] != "clean"].sort_values("dsc", kind="stable")
    names = attacked["attack"].tolist()
    hues, shapes = colours(_attacks(scores)), marks(_attacks(scores))
    axis.axvline(clean, color=INK, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    for place, (_, line) in enumerate(attacked.iterrows()):
        hue, shape = hues[line["attack"]], shapes[line["attack"]]
        axis.plot([line["dsc_low"], line["dsc_high"]], [place, place], color=hue, lw=1.5)
        axis.plot(line["dsc"], place, color=hue, marker=shape, linestyle="none", zorder=3)
    axis.set_yticks(range(len(names)), [shorten(attack_label(name), 24) for name in names])
    _dsc_along(axis, len(names))
    axis.set_xlabel(f"DSC at {epsilon_label(*attacked[['epsilon', 'norm']].iloc[0])}")


def dsc_by_size(axis: Axes, sizes: pd.DataFrame) -> None:
    """Mean DSC over epsilon under one attack, for the small, middle and large masks."""
    for name, part in sizes.groupby("size", sort=False):
        part = part.sort_values("epsilon")
        hue = SIZE_COLOURS[str(name)]
        axis.fill_between(
            part["epsilon"], part["dsc_low"], part["dsc_high"], color=hue, alpha=0.15, lw=0
        )
        axis.plot(
            part["epsilon"],
            part["dsc"],
            color=hue,
            marker=SIZE_MARKS[str(name)],
            clip_on=False,
            zorder=3,
        )
    _epsilon_axis(axis, sizes)
    _unit_axis(axis, "DSC")


def outcomes(axis: Axes, failures: pd.DataFrame) -> None:
    """Share of images per outcome under each attack: held, shifted, hallucinated or vanished."""
    failures = failures.iloc[::-1]  # matplotlib stacks bars from the bottom
    places = _grouped_places(failures["attack"].tolist())
    left = np.zeros(len(failures))
    for failure in FAILURES:
        share = failures[failure].to_numpy(dtype=float)
        axis.barh(places, share, left=left, height=0.78, color=FAILURE_COLOURS[failure], lw=0)
        left += share
    condition = failures[["attack", "norm", "epsilon"]].itertuples(index=False, name=None)
    labels = [norm_label(shorten(a, 18), n, e).replace(" at ", " ") for a, n, e in condition]
    axis.set_yticks(places, labels)
    axis.tick_params(axis="y", labelsize=6.3, pad=2)
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axis.set_xlabel("share of images")
    axis.grid(False)
    axis.spines["left"].set_visible(False)


def dsc_by_text(axis: Axes, scores: pd.DataFrame) -> None:
    """Mean DSC under each attack on the prompt, and before it on the same images."""
    scores = scores.iloc[::-1]
    for place, (_, line) in enumerate(scores.iterrows()):
        hue = TEXT_COLOURS[line["means"]]
        axis.plot([line["dsc_low"], line["dsc_high"]], [place, place], color=hue, lw=1.5)
        axis.plot(line["dsc"], place, color=hue, marker=TEXT_MARKS[line["means"]], linestyle="none")
        axis.plot(line["dsc_clean"], place, color=INK, marker="|", markersize=7, linestyle="none")
    condition = scores[["attack", "norm", "epsilon"]].itertuples(index=False, name=None)
    axis.set_yticks(range(len(scores)), [text_label(*each) for each in condition])
    _dsc_along(axis, len(scores))


def clean_against_attacked(axis: Axes, rows: pd.DataFrame) -> None:
    """Each image as a point: its DSC before and after; the diagonal is no change."""
    attacks = _attacks(rows)
    hues, shapes = colours(attacks), marks(attacks)
    axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1, zorder=1)
    for attack in attacks:
        part = rows[rows["attack"] == attack]
        axis.scatter(
            part["dsc_clean"],
            part["dsc"],
            s=9,
            marker=shapes[attack],
            color=hues[attack],
            alpha=0.6,
            linewidths=0.8 if attack == CONTROL else 0,
            rasterized=True,  # hundreds of marks would make the page heavy
            clip_on=False,
            zorder=2,
        )
    _unit_axis(axis, "DSC attacked")
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axis.set_xlabel("DSC clean")


def damage_over_cost(axis: Axes, scores: pd.DataFrame) -> None:
    """Mean drop of DSC over the passes through the model that one image cost; one mark a radius."""
    attacks = _attacks(scores)
    hues, shapes = colours(attacks), marks(attacks)
    for attack in attacks:
        part = scores[scores["attack"] == attack]
        passes = part["forwards"] + part["backwards"]
        axis.plot(passes, part["drop"], color=hues[attack], lw=0.8, alpha=0.5)
        axis.errorbar(
            passes,
            part["drop"],
            yerr=_margins(part, "drop"),
            color=hues[attack],
            marker=shapes[attack],
            linestyle="none",
            elinewidth=1,
        )
    _passes_axis(axis, float((scores["forwards"] + scores["backwards"]).max()))
    lowest = min(0.0, float(scores["drop_low"].min()))
    axis.set_ylim(lowest, max(0.1, float(scores["drop_high"].max()) * 1.08))
    axis.set_ylabel("mean drop of DSC")


def dsc_over_passes(axis: Axes, strengths: pd.DataFrame) -> None:
    """Mean DSC over the passes that one image cost; a curve per attack, one mark per budget."""
    attacks = _attacks(strengths)
    hues, shapes = colours(attacks), marks(attacks)
    for attack in attacks:
        part = strengths[strengths["attack"] == attack]
        axis.errorbar(
            part["passes"],
            part["dsc"],
            yerr=_margins(part, "dsc"),
            color=hues[attack],
            marker=shapes[attack],
            linestyle="--" if attack == CONTROL else "-",
            elinewidth=1,
            clip_on=False,
        )
    _passes_axis(axis, float(strengths["passes"].max()))
    _unit_axis(axis, "DSC")


def _passes_axis(axis: Axes, most: float) -> None:
    axis.set_xscale("symlog", linthresh=1, base=10)
    ticks = [0, *(10**k for k in range(1 + math.ceil(math.log10(max(most, 1)))))]
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlim(-0.3, max(most, 1) * 2)
    axis.set_xlabel("passes per image, forward + backward")


def outcome_legend() -> list[Patch]:
    """Legend entries for the colours of :func:`outcomes`."""
    return [Patch(color=FAILURE_COLOURS[f], label=name) for f, name in FAILURES.items()]


def size_legend() -> list[Line2D]:
    """Legend entries for the colours of :func:`dsc_by_size`."""
    return [
        Line2D([], [], color=hue, marker=SIZE_MARKS[name], label=f"{name} masks")
        for name, hue in SIZE_COLOURS.items()
    ]


def text_legend() -> list[Line2D]:
    """Legend entries for the colours of :func:`dsc_by_text`."""
    before = Line2D([], [], color=INK, marker="|", markersize=7, linestyle="none")
    before.set_label("before")
    return [
        before,
        *(
            Line2D([], [], color=hue, marker=TEXT_MARKS[means], label=f"means {means}")
            for means, hue in TEXT_COLOURS.items()
            if means
        ),
    ]


def _attacks(frame: pd.DataFrame) -> list[str]:
    return [a for a in frame["attack"].unique() if a != "clean"]


def _with_clean(part: pd.DataFrame, clean: pd.Series, metric: Metric) -> pd.DataFrame:
    """Add the clean score as the first point of every curve, at radius 0."""
    start = clean.to_frame().T
    columns = ["epsilon", *(f"{metric.name}{end}" for end in ("", "_low", "_high"))]
    return pd.concat([start[columns], part[columns]]).astype(float).sort_values("epsilon")


def _unit_of_shift(radii: pd.Series) -> pd.Series:
    """Horizontal shift of points: constant, or proportional to the radius on a logarithmic axis."""
    wide = radii.max() > _WIDE * radii[radii > 0].min()
    return radii if wide else radii.max() * (radii > 0)


def _epsilon_axis(axis: Axes, frame: pd.DataFrame) -> None:
    radii = sorted({0.0, *frame["epsilon"].astype(float)})
    norm = next((str(n) for n in frame["norm"].unique() if n), "linf")
    if len(radii) > 1 and radii[-1] > _WIDE * radii[1]:
        axis.set_xscale("symlog", linthresh=radii[1])
    labels = [epsilon_label(r, norm).removesuffix("/255") for r in radii]
    axis.set_xticks(radii, labels)
    axis.minorticks_off()
    axis.set_xlim(0, (radii[-1] or 1) * 1.02)
    units = {"l2": "ε (L2)", "normalised": "ε after normalisation"}
    axis.set_xlabel(units.get(norm, "ε in steps of 1/255"))


def _unit_axis(axis: Axes, label: str) -> None:
    axis.set_ylim(0, 1)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axis.set_ylabel(label)


def _dsc_along(axis: Axes, lines: int) -> None:
    """Set up axes for ``lines`` horizontal rows, with DSC on the x axis."""
    axis.tick_params(axis="y", labelsize=6.3, pad=2)
    axis.set_ylim(-0.7, lines - 0.3)
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axis.set_xlabel("DSC")
    axis.grid(axis="x")


def _grouped_places(attacks: list[str]) -> list[float]:
    """Positions of bars, with small gaps between attacks."""
    changes = np.cumsum([0, *(a != b for a, b in zip(attacks[1:], attacks[:-1], strict=True))])
    return [float(index + 0.5 * change) for index, change in enumerate(changes)]


def _margins(part: pd.DataFrame, column: str) -> np.ndarray:
    middle = part[column].to_numpy(dtype=float)
    low = middle - part[f"{column}_low"].to_numpy(dtype=float)
    high = part[f"{column}_high"].to_numpy(dtype=float) - middle
    margins: np.ndarray = np.nan_to_num(np.stack([low, high])).clip(min=0)
    return margins
