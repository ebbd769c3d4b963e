"""The tables of the report, and the layout of each."""

from collections.abc import Iterator, Mapping

import pandas as pd

from palpate.evaluation.metrics import Metric
from palpate.evaluation.results.rows import metrics_in
from palpate.reporting.labels import CONTROL, FAILURES, epsilon_label
from palpate.reporting.numbers.checked_rows import of_fixed_radius
from palpate.reporting.numbers.summary import Summary, by_prompt, curve_area, quality
from palpate.reporting.tables.artefacts import artefacts
from palpate.reporting.tables.gains import gains
from palpate.reporting.tables.main_table import main_tables
from palpate.reporting.tables.published import published
from palpate.reporting.tables.radius_table import radius_table
from palpate.reporting.tables.table import (
    ATTACK,
    DATA,
    RADIUS,
    Table,
    labelled,
    p_value,
    percent,
    percent_interval,
    provenance,
    score_interval,
    units,
)
from palpate.reporting.tables.tail import worst_column, worst_tenth

_TEST = (
    "Two-sided Wilcoxon signed-rank test on group means, p adjusted by Holm over all lines; the "
    "effect is the matched-pairs rank-biserial correlation (−1: DSC fell for every image)."
)


def all_tables(
    rows: pd.DataFrame,
    summary: Summary,
    baseline: pd.DataFrame | None = None,
    variants: Mapping[str, pd.DataFrame] | None = None,
) -> Iterator[Table]:
    """Make all tables for which the rows have values, the main table first."""
    everything, rows = rows, of_fixed_radius(rows)
    yield from main_tables(rows, summary.scores)
    if baseline is not None:
        yield gains(rows, baseline)
    if (beside := published(rows)) is not None:
        yield beside
    if variants:
        yield artefacts(rows, variants)
    if not summary.radii.empty:
        yield radius_table(everything, summary.radii)
    if (rows["attack"] == "clean").all():
        return
    yield _tests(rows, summary.tests)
    yield _failures(rows, summary)
    if not (areas := curve_area(rows)).empty:
        yield _curve_area(rows, areas)
    for name, column, title, frame in (
        ("size", "size", "DSC by size of the mask", summary.sizes),
        ("prompt", "prompt_level", "DSC by prompt level", by_prompt(rows)),
    ):
        if not frame.empty:
            yield _breakdown(rows, name, column, title, frame)
    yield _worst(rows)
    yield _quality(rows)


def _tests(rows: pd.DataFrame, numbers: pd.DataFrame) -> Table:
    shown = labelled(numbers)
    shown["Against"] = numbers["against"].map({"clean": "clean", CONTROL: "random noise"})
    shown["n"] = numbers["n"].astype(str)
    shown["DSC difference"] = [percent_interval(x, "difference") for _, x in numbers.iterrows()]
    shown["p"] = numbers["p"].map(p_value)
    shown["p (Holm)"] = numbers["p_holm"].map(p_value)
    shown["Effect"] = numbers["effect"].map(
        lambda x: "–" if pd.isna(x) else f"{x:+.2f}".replace("-", "−")
    )
    return Table(
        name="tests",
        title="Paired tests",
        caption=(
            "Paired difference of DSC in points, attacked − clean and attack − random noise of "
            f"the same radius on the same images. {_TEST} {provenance(rows)}"
        ),
        numbers=numbers,
        shown=shown,
        text_columns=(DATA, ATTACK, RADIUS, "Against"),
    )


def _failures(rows: pd.DataFrame, summary: Summary) -> Table:
    success = ["n_eligible", "success", "success_low", "success_high"]
    keys = ["facet", "attack", "norm", "epsilon"]
    numbers = summary.failures.merge(summary.scores[[*keys, *success]], on=keys)
    shown = labelled(numbers)
    shown["n"] = numbers["n"].astype(str)
    shown["Success"] = [
        "–"
        if line["attack"] == "clean"
        else f"{percent_interval(line, 'success')} ({line['n_eligible']})"
        for _, line in numbers.iterrows()
    ]
    shown["Failed"] = [percent_interval(line, "failed") for _, line in numbers.iterrows()]
    for failure, label in FAILURES.items():
        shown[label.capitalize()] = numbers[failure].map(percent)
    return Table(
        name="failures",
        title="Failure modes",
        caption=(
            "Share of images in percent: where the attack succeeded (of the images, their number "
            "in parentheses, whose clean prediction had not failed), where the prediction failed, "
            "and its mode: held (no failure), shifted (right area, wrong place), hallucinated (at "
            "least twice the area), vanished (at most half). An interval of width 0 means that all "
            f"images had the same outcome. {provenance(rows)}"
        ),
        numbers=numbers,
        shown=shown,
    )


def _curve_area(rows: pd.DataFrame, numbers: pd.DataFrame) -> Table:
    shown = labelled(numbers).rename(columns={RADIUS: "up to ε"})
    shown["n"] = numbers["n"].astype(str)
    shown["Area"] = [percent_interval(line, "area") for _, line in numbers.iterrows()]
    shown["DSC halved at ε"] = [
        "never" if pd.isna(x) else epsilon_label(float(f"{x:.2g}"), norm)
        for x, norm in zip(numbers["halved_at"], numbers["norm"], strict=True)
    ]
    return Table(
        name="curve-area",
        title="Area under DSC over ε",
        caption=(
            "Area under DSC over ε from 0 to the largest radius, in percent of a curve that stays "
            "at 100; and the radius at which the mean falls to half of the clean DSC, interpolated "
            f"linearly between measured radii. {provenance(rows)}"
        ),
        numbers=numbers,
        shown=shown,
        text_columns=(DATA, ATTACK, "up to ε"),
    )


def _breakdown(
    rows: pd.DataFrame, name: str, column: str, title: str, numbers: pd.DataFrame
) -> Table:
    """DSC with its interval, one column per class of images."""
    classes = list(dict.fromkeys(numbers[column]))
    keys = ["facet", "attack", "norm", "epsilon"]
    lines = []
    for _, part in numbers.groupby(keys, sort=False):
        found = {str(line[column]): line for _, line in part.iterrows()}
        cells = {c: percent_interval(found[c], "dsc") if c in found else "–" for c in classes}
        counts = "/".join(str(found[c]["n"]) if c in found else "0" for c in classes)
        lines.append({**labelled(part).iloc[0].to_dict(), "n": counts} | cells)
    return Table(
        name=name,
        title=title,
        caption=(
            f"DSC in percent, mean over images, by {column.replace('_', ' ')}; n in the order of "
            f"the columns. {_size_note(numbers) if name == 'size' else ''}{provenance(rows)}"
        ),
        numbers=numbers,
        shown=pd.DataFrame(lines),
    )


def _worst(rows: pd.DataFrame) -> Table:
    numbers = worst_tenth(rows)
    metrics = [metric for metric in metrics_in(rows) if metric.primary]
    shown = labelled(numbers)
    shown["n"] = [f"{w} of {n}" for w, n in zip(numbers["n_worst"], numbers["n"], strict=True)]
    for metric in metrics:
        shown[metric.heading] = [
            score_interval(_renamed(line, metric), metric) for _, line in numbers.iterrows()
        ]
    return Table(
        name="worst-decile",
        title="The worst tenth of the images",
        caption=(
            f"Mean of the tenth of the images with the worst values, by each metric by itself: "
            f"{units(metrics)}. {provenance(rows)}"
        ),
        numbers=numbers,
        shown=shown,
    )


def _renamed(line: pd.Series, metric: Metric) -> pd.Series:
    ends = ("", "_low", "_high")
    return line.rename({f"{worst_column(metric)}{e}": f"{metric.name}{e}" for e in ends})


def _quality(rows: pd.DataFrame) -> Table:
    numbers = quality(rows)
    further = [metric for metric in metrics_in(rows) if not metric.primary]
    shown = labelled(numbers)
    shown["n"] = numbers["n"].astype(str)
    for metric in further:
        cells = [score_interval(line, metric) for _, line in numbers.iterrows()]
        shown[metric.heading] = _counted(cells, numbers, metric.name)
    for name, label, text in (("psnr", "PSNR (dB)", "{:.1f}".format), ("ssim", "SSIM", percent)):
        if name in numbers:
            cells = ["–" if pd.isna(value) else text(value) for value in numbers[name]]
            shown[label] = _counted(cells, numbers, name)
    if "linf_max" in numbers:
        shown["Largest L∞ × 255"] = numbers["linf_max"].map(lambda x: f"{255 * x:.3f}")
    return Table(
        name="quality",
        title="Further metrics, and size of the perturbation",
        caption=(
            f"Means over images: {units(further)}; SSIM in percent. PSNR and SSIM compare the "
            "attacked with the clean image and have no interval. Values that are not finite are "
            "left out; the number of the remaining images is then given in parentheses. "
            f"{_empty_masks(further)}Largest L∞ is measured on the images. {provenance(rows)}"
        ),
        numbers=numbers,
        shown=shown,
    )


def _counted(cells: list[str], numbers: pd.DataFrame, name: str) -> list[str]:
    """Format cells, with the number of images in parentheses if some had no finite value."""
    counts = zip(cells, numbers[f"n_{name}"], numbers["n"], strict=True)
    return [
        cell if cell == "–" or used == n else f"{cell} ({used:.0f})" for cell, used, n in counts
    ]


def _empty_masks(metrics: list[Metric]) -> str:
    """Describe the values for empty masks, each with the metrics that have it."""
    rules: dict[str, list[str]] = {}
    for metric in metrics:
        if metric.empty:
            rules.setdefault(metric.empty, []).append(metric.label)
    said = "; ".join(f"{', '.join(labels)}: {rule}" for rule, labels in rules.items())
    return f"Empty masks: {said}. " if said else ""


def _size_note(numbers: pd.DataFrame) -> str:
    """Describe the limits of the thirds per facet, as shares of the image area."""
    parts = []
    for name, part in numbers.groupby("facet", sort=False):
        limits = part.groupby("size", sort=False)["area_high"].first().iloc[:2]
        parts.append(f"{name} {' and '.join(f'{100 * x:.1f} %' for x in limits)}")
    return f"Masks are small or middle up to this share of the image: {'; '.join(parts)}. "
