"""Sentences of the page, each computed from the summary of the rows."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, isclose
from types import MappingProxyType
from typing import Final

import pandas as pd

from palpate.reporting.labels import (
    CONTROL,
    attack_label,
    epsilon_label,
    length_label,
    norm_name,
    radius_label,
    seconds_label,
)
from palpate.reporting.numbers.focus import Focus
from palpate.reporting.numbers.summary import Summary
from palpate.reporting.numbers.worst_case import enumerate_attacks

_CLEAR: Final = 0.05  # significance level of the adjusted p-values
_HOW: Final = {
    "vanished": "the prediction covers at most half of the area of the mask (missed)",
    "shifted": "the prediction has about the right area but is in the wrong place",
    "hallucinated": "the prediction covers at least twice the area of the mask (false alarm)",
}


@dataclass(frozen=True)
class Score:
    """A mean DSC and its interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class FacetScores:
    """Scores of one data set and structure in the focus condition.

    ``single`` is the score under one attack, if ``attacked`` is the worst case over several.
    """

    facet: str
    n: int
    clean: Score
    attacked: Score | None
    noise: Score | None
    single: Score | None = None


def findings(scores: pd.DataFrame, focus: Focus | None) -> list[FacetScores]:
    """One finding per data set and structure, in order."""
    return [_finding(str(name), part, focus) for name, part in scores.groupby("facet", sort=False)]


def headline(
    found: list[FacetScores],
    focus: Focus | None,
    radii: pd.DataFrame | None = None,
    runs: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The first sentence of the report.

    Args:
        found: One finding per data set and structure.
        focus: The condition that the sentence is about.
        radii: Robustness radii, reported where no attack has a fixed radius.
        runs: Run of each data set and structure, where the report covers several runs.
    """
    if focus is None and radii is not None and not radii.empty:
        clean = _range([f.clean.mean for f in found])
        return f"Clean DSC is {clean}. {_on_radii(radii)}"
    if focus is None:
        clean = _range([f.clean.mean for f in found])
        return f"Clean DSC is {clean}. No attack was run, so robustness was not measured."
    hit = [(f, f.attacked) for f in found if f.attacked is not None]
    radius = radius_label(focus.norm, focus.epsilon)
    before = _range([f.clean.mean for f, _ in hit])
    after = _range([attacked.mean for _, attacked in hit])
    where = _where([f.facet for f, _ in hit], runs)
    who = attack_label(focus.attack)
    if focus.over:
        who = f"the worst case over {enumerate_attacks(focus.over)}"
    sentence = f"At {radius}, {who} reduces DSC from {before} to {after} {where}"
    if len(hit) == 1:
        sentence += f" (n = {hit[0][0].n}, 95 % CI {_interval(hit[0][1])})"
    alone = [f.single.mean for f, _ in hit if f.single is not None]
    if alone:
        sentence += f", {attack_label(focus.single)} alone to {_range(alone)}"
    noise = [f.noise.mean for f, _ in hit if f.noise is not None]
    if focus.attack == CONTROL:
        return f"{sentence}. Only random noise was run, which is a control and not an attack."
    if not noise:
        return f"{sentence}. There is no control, because random noise of this radius was not run."
    return f"{sentence}; DSC under random noise of the same radius is {_range(noise)}."


def meanings(summary: Summary, focus: Focus) -> Iterator[tuple[str, str]]:
    """Headings and sentences on the results in the focus condition."""
    scores, sizes, tests = summary.scores, summary.sizes, summary.tests
    if focus.over:
        yield "What is the worst case?", _on_worst(focus)
    at_focus = scores[_is(scores, focus)]
    yield "How large is the perturbation?", _on_size(focus)
    control = scores[
        (scores["attack"] == CONTROL)
        & (scores["norm"] == focus.norm)
        & (scores["epsilon"] == focus.epsilon)
    ]
    if focus.attack != CONTROL and not control.empty:
        yield (
            "Does random noise explain it?",
            _on_noise(at_focus["drop"].mean(), control["drop"].mean()),
        )
    yield "How do predictions fail?", _on_failure(summary.failures[_is(summary.failures, focus)])
    if not sizes.empty:
        yield "Does it depend on object size?", _on_masks(sizes[_is(sizes, focus)])
    if not tests.empty:
        yield (
            "Is the difference significant?",
            _on_significance(tests[tests["attack"] == focus.single], len(tests)),
        )
    yield "What does the attack cost?", _on_cost(at_focus)


def _finding(name: str, part: pd.DataFrame, focus: Focus | None) -> FacetScores:
    (clean,) = _scores(part[part["attack"] == "clean"])
    attacked = noise = single = None
    if focus is not None:
        attacked = next(_scores(part[_is(part, focus)]), None)
        noise = next(_scores(part[_is(part, Focus(CONTROL, focus.norm, focus.epsilon))]), None)
        alone = Focus(focus.single, focus.norm, focus.epsilon)
        single = next(_scores(part[_is(part, alone)]), None) if focus.over else None
    n = part[_is(part, focus)]["n"].min() if attacked and focus else part["n"].max()
    return FacetScores(name, int(n), clean, attacked, noise, single)


def _where(facets: list[str], runs: Mapping[str, str]) -> str:
    """Data sets and runs in words; the same data in two runs count as one data set.

    >>> _where(["kvasir"], {})
    'on kvasir'
    >>> _where(["kvasir, a", "kvasir, b"], {"kvasir, a": "a", "kvasir, b": "b"})
    'across 2 runs'
    """
    if len(facets) == 1:
        return f"on {facets[0]}"
    held = Counter(runs[facet] for facet in facets if facet in runs)
    several = max(held.values(), default=len(facets))
    data = f"{several} data sets and structures" if several > 1 else ""
    among = f"{len(held)} runs" if len(held) > 1 else ""
    return f"across {' of '.join(filter(None, (among, data)))}"


def _scores(part: pd.DataFrame) -> Iterator[Score]:
    for _, line in part.iterrows():
        yield Score(line["dsc"], line["dsc_low"], line["dsc_high"])


def _is(frame: pd.DataFrame, focus: Focus) -> pd.Series:
    same_radius = (frame["norm"] == focus.norm) & (frame["epsilon"] == focus.epsilon)
    return (frame["attack"] == focus.attack) & same_radius


def _on_worst(focus: Focus) -> str:
    return (
        f"For each image, the lowest DSC under {enumerate_attacks(focus.over)}, the attacks of "
        "this run that use the gradient of the model. A model is as robust as the strongest attack "
        "on it says."
    )


def _on_size(focus: Focus) -> str:
    if focus.norm == "normalised":
        return (
            f"Each pixel value changes by at most {epsilon_label(focus.epsilon, focus.norm)} "
            "standard deviations of its channel, as the model normalises images."
        )
    if focus.norm != "linf":
        return (
            f"The L2 norm of the perturbation of an image is at most "
            f"{epsilon_label(focus.epsilon, focus.norm)}, for pixel values from 0 to 1."
        )
    # No claim about visibility: that would take a study with observers.
    return (
        f"At {radius_label(focus.norm, focus.epsilon)} no pixel value changes by more than "
        f"{focus.epsilon * 255:.3g} of the 255 steps of an 8-bit image."
    )


def _on_noise(drop: float, noise: float) -> str:
    if drop <= 0:
        return "The attack does not reduce DSC, so there is nothing to compare with noise."
    share = max(0.0, noise) / drop
    if share < 0.25:
        return (
            f"No: random noise of the same radius causes {100 * share:.0f} % of the drop in DSC. "
            "The direction of the perturbation matters, not only its size."
        )
    return (
        f"Partly: random noise of the same radius causes {100 * share:.0f} % of the drop in DSC, "
        "so the model is sensitive to perturbations in general."
    )


def _on_radii(radii: pd.DataFrame) -> str:
    # Lengths in two norms cannot be compared; where there are both, L-infinity is reported.
    of_one_norm = radii[radii["norm"] == radii["norm"].max()].fillna({"radius": inf})
    smallest = of_one_norm.sort_values("radius", kind="stable").iloc[0]
    who, norm = attack_label(smallest["attack"]), str(smallest["norm"])
    if not smallest["radius"] < inf:
        return f"{who} made fewer than half of the predictions fail, within any radius allowed."
    prefix = "" if norm == "linf" else f"{norm_name(norm)} "
    length = length_label(float(smallest["radius"]), norm)
    return (
        f"{who} makes half of the predictions for {smallest['n']} images of {smallest['facet']} "
        f"fail within a radius of {prefix}{length}; no attack was run at a fixed radius."
    )


def _on_failure(line: pd.DataFrame) -> str:
    weights = line["n"] / line["n"].sum()
    shares = {m: float((line[m] * weights).sum()) for m in ("vanished", "shifted", "hallucinated")}
    failed = sum(shares.values())
    if failed == 0:
        return "No prediction failed: DSC is above the threshold for every image."
    highest = max(shares.values())
    worst = [mode for mode, share in shares.items() if isclose(share, highest)]
    said = ", or because ".join(_HOW[mode] for mode in worst)
    often = "most often" if len(worst) == 1 else "equally often"
    each = "" if len(worst) == 1 else " each"
    return (
        f"{100 * failed:.0f} % of the predictions fail, {often} ({100 * highest:.0f} % of "
        f"all{each}) because {said}."
    )


def _on_masks(sizes: pd.DataFrame) -> str:
    means = sizes.groupby("size")["dsc"].mean()
    if not {"small", "large"} <= set(means.index):
        return "The masks differ too little in size to compare."
    small, large = means["small"], means["large"]
    if abs(small - large) < 0.03:
        return (
            f"No: DSC is {small:.2f} for the third with the smallest masks and {large:.2f} for the "
            "third with the largest."
        )
    first = "small" if small < large else "large"
    return (
        f"Yes, {first} objects are affected most: DSC is {small:.2f} for the third with the "
        f"smallest masks and {large:.2f} for the third with the largest."
    )


def _on_significance(tests: pd.DataFrame, together: int) -> str:
    """State which differences are significant; Holm's correction covers ``together`` tests."""
    total, clear = len(tests), int((tests["p_holm"] < _CLEAR).sum())
    few = int(tests["groups"].min())
    against = {"clean": "the clean images", CONTROL: "noise"}
    others = [f"with {words}" for key, words in against.items() if (tests["against"] == key).any()]
    what = f"{attack_label(tests['attack'].iloc[0])} {' and '.join(others)}"
    how = f"paired Wilcoxon test; Holm, {100 * _CLEAR:g} %"
    if clear == total:
        return f"Yes: each of {total} comparisons of {what} is statistically significant ({how})."
    if clear:
        return f"Partly: {clear} of {total} comparisons of {what} are significant ({how})."
    # The smallest p of the signed-rank test on n differences is 2 / 2^n: all of one sign.
    if together * 2.0 ** (1 - few) >= _CLEAR:
        return (
            f"Too few images: with {few} independent ones, no difference can be statistically "
            f"significant in {together} tests, however large it is ({how})."
        )
    return f"No: none of {total} comparisons of {what} is statistically significant ({how})."


def _on_cost(line: pd.DataFrame) -> str:
    return (
        f"{line['forwards'].mean():.3g} forward and {line['backwards'].mean():.3g} backward passes "
        f"per image, {seconds_label(line['seconds'].mean())} s on the machine that ran it."
    )


def _range(values: list[float]) -> str:
    """One number, or the smallest and the largest.

    >>> _range([0.861]), _range([0.86, 0.91])
    ('0.86', '0.86–0.91')
    """
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low}–{high}"


def _interval(score: Score | None) -> str:
    assert score is not None
    return "unknown" if pd.isna(score.low) else f"{score.low:.2f}–{score.high:.2f}"
