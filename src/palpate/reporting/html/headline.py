"""What the numbers say, in sentences: each is made of a summary, so none can say more than it."""

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

_CLEAR: Final = 0.05  # p below which a difference is taken for more than chance
_HOW: Final = {
    "vanished": "the model no longer sees what is there, a missed finding",
    "shifted": "the model points to the wrong place",
    "hallucinated": "the model marks far more than is there, a false alarm",
}


@dataclass(frozen=True)
class Score:
    """A mean DSC and its interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class FacetScores:
    """What the focus condition did to one data set and structure."""

    facet: str
    n: int
    clean: Score
    attacked: Score | None
    noise: Score | None


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
        found: What was found in each data set and structure.
        focus: The condition that the sentence is about.
        radii: Speak where nothing has a stated radius.
        runs: Whose a data set and structure is, where those of several runs stand together.
    """
    if focus is None and radii is not None and not radii.empty:
        clean = _range([f.clean.mean for f in found])
        return f"Clean DSC is {clean}. {_on_radii(radii)}"
    if focus is None:
        clean = _range([f.clean.mean for f in found])
        return f"Clean DSC is {clean}. Nothing was attacked, so nothing is known about robustness."
    hit = [(f, f.attacked) for f in found if f.attacked is not None]
    radius = radius_label(focus.norm, focus.epsilon)
    before = _range([f.clean.mean for f, _ in hit])
    after = _range([attacked.mean for _, attacked in hit])
    where = _where([f.facet for f, _ in hit], runs)
    sentence = (
        f"At {radius}, {attack_label(focus.attack)} takes DSC from {before} to {after} {where}"
    )
    if len(hit) == 1:
        sentence += f" (n = {hit[0][0].n}, 95 % CI {_interval(hit[0][1])})"
    noise = [f.noise.mean for f, _ in hit if f.noise is not None]
    if focus.attack == CONTROL:
        return f"{sentence}. Only noise was tried, and noise is no attack."
    if not noise:
        return f"{sentence}. No random noise of that size was tried, so there is no control."
    return f"{sentence}; random noise of the same size leaves {_range(noise)}."


def meanings(summary: Summary, focus: Focus) -> Iterator[tuple[str, str]]:
    """Short heading and sentences on what the focus condition means, as far as is known."""
    scores, sizes, tests = summary.scores, summary.sizes, summary.tests
    at_focus = scores[_is(scores, focus)]
    yield "How large is the change?", _on_size(focus)
    control = scores[
        (scores["attack"] == CONTROL)
        & (scores["norm"] == focus.norm)
        & (scores["epsilon"] == focus.epsilon)
    ]
    if focus.attack != CONTROL and not control.empty:
        yield "Is it the noise?", _on_noise(at_focus["drop"].mean(), control["drop"].mean())
    yield "How does it fail?", _on_failure(summary.failures[_is(summary.failures, focus)])
    if not sizes.empty:
        yield "Whom does it hit?", _on_masks(sizes[_is(sizes, focus)])
    if not tests.empty:
        yield "Could it be chance?", _on_chance(tests[tests["attack"] == focus.attack], len(tests))
    yield "What does it cost?", _on_cost(at_focus)


def _finding(name: str, part: pd.DataFrame, focus: Focus | None) -> FacetScores:
    (clean,) = _scores(part[part["attack"] == "clean"])
    attacked = noise = None
    if focus is not None:
        attacked = next(_scores(part[_is(part, focus)]), None)
        noise = next(_scores(part[_is(part, Focus(CONTROL, focus.norm, focus.epsilon))]), None)
    n = part[_is(part, focus)]["n"].min() if attacked and focus else part["n"].max()
    return FacetScores(name, int(n), clean, attacked, noise)


def _where(facets: list[str], runs: Mapping[str, str]) -> str:
    """What the sentence is about; the same data in two runs are not two data sets.

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


def _on_size(focus: Focus) -> str:
    if focus.norm == "normalised":
        return (
            f"Each colour value may move by up to {epsilon_label(focus.epsilon, focus.norm)} "
            "standard deviations of its channel, as the model normalises it."
        )
    if focus.norm != "linf":
        return (
            f"All changes of an image together have a length of at most "
            f"{epsilon_label(focus.epsilon, focus.norm)}, where black and white are 0 and 1."
        )
    steps = focus.epsilon * 255
    seen = (
        "which nobody sees" if steps <= 2 else "hard to see" if steps <= 8 else "visible as grain"
    )
    return (
        f"At {radius_label(focus.norm, focus.epsilon)} no pixel value moves by more than "
        f"{steps:.3g} of the 255 steps of an 8-bit image, {seen}."
    )


def _on_noise(drop: float, noise: float) -> str:
    if drop <= 0:
        return "There is no damage to compare with that of noise."
    share = max(0.0, noise) / drop
    if share < 0.25:
        return (
            f"No: random noise of the same size does {100 * share:.0f} % of the damage. It is the "
            "direction of the change that breaks the model, not its size."
        )
    return (
        f"To a good part: random noise of the same size does {100 * share:.0f} % of the damage. "
        "The model gives way to any disturbance, not only to an adversary."
    )


def _on_radii(radii: pd.DataFrame) -> str:
    # Lengths of two norms are not compared; where there are both, L-infinity is quoted.
    of_one_norm = radii[radii["norm"] == radii["norm"].max()].fillna({"radius": inf})
    smallest = of_one_norm.sort_values("radius", kind="stable").iloc[0]
    who, norm = attack_label(smallest["attack"]), str(smallest["norm"])
    if not smallest["radius"] < inf:
        return f"{who} broke fewer than half of the images, within any radius it was allowed."
    prefix = "" if norm == "linf" else f"{norm_name(norm)} "
    length = length_label(float(smallest["radius"]), norm)
    return (
        f"{who} breaks half of {smallest['n']} images of {smallest['facet']} within a radius of "
        f"{prefix}{length}; nothing was attacked at a stated radius."
    )


def _on_failure(line: pd.DataFrame) -> str:
    weights = line["n"] / line["n"].sum()
    shares = {m: float((line[m] * weights).sum()) for m in ("vanished", "shifted", "hallucinated")}
    failed = sum(shares.values())
    if failed == 0:
        return "No prediction failed: each still covers its object better than not."
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
        return "The masks are too alike in size to tell."
    small, large = means["small"], means["large"]
    if abs(small - large) < 0.03:
        return f"Small and large objects alike: DSC ends at {small:.2f} and {large:.2f}."
    first = "Small" if small < large else "Large"
    return (
        f"{first} objects most: the third with the smallest masks ends at DSC {small:.2f}, the "
        f"third with the largest at {large:.2f}."
    )


def _on_chance(tests: pd.DataFrame, together: int) -> str:
    """In plain words; ``together`` is how many tests Holm's correction covers."""
    total, clear = len(tests), int((tests["p_holm"] < _CLEAR).sum())
    few = int(tests["groups"].min())
    against = {"clean": "the clean images", CONTROL: "noise"}
    others = [f"with {words}" for key, words in against.items() if (tests["against"] == key).any()]
    what = f"{attack_label(tests['attack'].iloc[0])} {' and '.join(others)}"
    how = f"p < {_CLEAR:g} in a paired Wilcoxon test after Holm's correction"
    if clear == total:
        return f"Hardly: each of {total} comparisons of {what} stands out from chance ({how})."
    if clear:
        return f"In part: {clear} of {total} comparisons of {what} stand out from chance ({how})."
    # Of n differences all of one sign are the least likely: twice one of 2^n.
    if together * 2.0 ** (1 - few) >= _CLEAR:
        return (
            f"It cannot be told from so few images: with {few} independent ones no difference, "
            f"however large, can stand out from chance in {together} tests ({how})."
        )
    return f"It could: none of {total} comparisons of {what} stands out from chance ({how})."


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
