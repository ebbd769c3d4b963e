"""Tables of attacks on the prompt, with the image unchanged."""

from collections.abc import Iterator
from typing import Final

import pandas as pd

from palpate.attacks.text import TEXT_ATTACKS
from palpate.evaluation.statistics.intervals import SHARE, mean_interval, paired_difference
from palpate.evaluation.statistics.prompt_sensitivity import BEST, WORST, prompt_sensitivity
from palpate.reporting.labels import ADVERSARIAL, BENIGN, UNKNOWN, seconds_label, text_label
from palpate.reporting.numbers.checked_rows import attacked, conditions, facets
from palpate.reporting.numbers.summary import spread
from palpate.reporting.tables.table import ATTACK, DATA, Table, percent_interval, provenance

_SAMPLE: Final = ["dataset", "key", "structure", "prompt_level"]  # the prompt is what was changed
_SHOWN = 160  # letters of a prompt in a table


def text_tables(rows: pd.DataFrame) -> Iterator[Table]:
    """The tables of attacks on the prompt.

    Args:
        rows: Clean rows and those of attacks on texts, checked.
    """
    if (rows["attack"] == "clean").all():
        return
    yield _scores(rows)
    if {WORST, BEST} <= set(rows["attack"]):
        yield _sensitivity(rows)
    yield _examples(rows)


def text_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per data set, structure and attack on the prompt.

    Returns:
        Columns ``facet dataset structure attack norm epsilon means n groups``, the mean with
        ``_low`` and ``_high`` of ``dsc_clean``, ``dsc``, ``drop`` and ``success`` (over the
        ``n_eligible`` images whose clean prediction had not failed), and the means of
        ``forwards backwards seconds``.
    """
    lost = rows.loc[(rows["attack"] == "clean") & (rows["failure"] != "none"), _SAMPLE]
    lost_too = rows[_SAMPLE].merge(lost.assign(lost=True), how="left")["lost"].notna()
    rows = rows.assign(eligible=~lost_too.to_numpy())
    return pd.DataFrame(list(_lines(rows)))


def _lines(rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    for name, part in facets(rows):
        where = {column: part[column].iloc[0] for column in ("dataset", "structure")}
        for (attack, norm, epsilon), some in conditions(attacked(part)):
            groups, able = some["group"].astype(str), some[some["eligible"]]
            line: dict[str, object] = {"facet": name, **where, "attack": attack, "norm": norm}
            line |= {"epsilon": epsilon, "means": _means(attack)}
            line |= {"n": len(some), "groups": groups.nunique(), "n_eligible": len(able)}
            for score in ("dsc_clean", "dsc"):
                line |= spread(score, mean_interval(some[score], groups))
            line |= spread("drop", paired_difference(some["dsc"], some["dsc_clean"], groups))
            if len(able):
                successes = able["success"].astype(float)
                line |= spread("success", mean_interval(successes, able["group"].astype(str)))
            yield line | {k: some[k].mean() for k in ("forwards", "backwards", "seconds")}


def _means(attack: str) -> str:
    """Whether an attacked prompt still means the same; unknown for a user's own attack."""
    known = TEXT_ATTACKS.get(attack)
    return UNKNOWN if known is None else BENIGN if known.kind == "benign" else ADVERSARIAL


def _scores(rows: pd.DataFrame) -> Table:
    numbers = text_scores(rows)
    shown = pd.DataFrame({DATA: numbers["facet"]})
    shown[ATTACK] = [
        text_label(a, n, e)
        for a, n, e in zip(numbers["attack"], numbers["norm"], numbers["epsilon"], strict=True)
    ]
    shown["The text means"] = numbers["means"]
    shown["n"] = numbers["n"].astype(str)
    for name, label in (
        ("dsc_clean", "DSC before"), ("dsc", "DSC after"), ("drop", "Drop"), ("success", "Success"),
    ):  # fmt: skip
        shown[label] = [percent_interval(line, name) for _, line in numbers.iterrows()]
    passes = zip(numbers["forwards"], numbers["backwards"], strict=True)
    shown["Texts"] = [f"{forwards:.3g} + {backwards:.3g}" for forwards, backwards in passes]
    shown["s"] = numbers["seconds"].map(seconds_label)
    return Table(
        name="texts",
        title="Attacks on the prompt",
        caption=(
            "DSC in percent before and after the prompt is changed, mean over the images that the "
            "attack applies to, and its drop in points. Where the text means the same, the DSC "
            "should stay; where it names something else in the image, it should fall. Success: of "
            "the images whose clean prediction had not failed. Texts: texts decoded + gradients, "
            f"per image, with the image encoded once. {provenance(_originals(rows))}"
        ),
        numbers=numbers,
        shown=shown,
        group_columns=(DATA,),
        text_columns=(DATA, ATTACK, "The text means"),
    )


def _sensitivity(rows: pd.DataFrame) -> Table:
    pairs = prompt_sensitivity(rows)
    facet = rows.drop_duplicates(["dataset", "structure"])[["dataset", "structure", "facet"]]
    lines = []
    for name, some in pairs.merge(facet).groupby("facet", sort=False):
        groups = some["group"].astype(str)
        line: dict[str, object] = {"facet": name, "n": len(some), "groups": groups.nunique()}
        for score in ("best", "worst"):
            line |= spread(score, mean_interval(some[score], groups))
        # The best text is never below the worst.
        gap = paired_difference(some["worst"], some["best"], groups, limits=SHARE)
        line |= spread("sensitivity", gap)
        lines.append(line)
    numbers = pd.DataFrame(lines)
    shown = pd.DataFrame({DATA: numbers["facet"], "n": numbers["n"].astype(str)})
    for score in ("best", "worst", "sensitivity"):
        shown[score.capitalize()] = [percent_interval(x, score) for _, x in numbers.iterrows()]
    return Table(
        name="sensitivity",
        title="Sensitivity to the wording",
        caption=(
            "DSC in percent under the best and the worst of all texts that the data give for the "
            "same structure in the same image, and their difference per image, the sensitivity, in "
            f"points. {provenance(_originals(rows))}"
        ),
        numbers=numbers,
        shown=shown,
        group_columns=(DATA,),
        text_columns=(DATA,),
    )


def _examples(rows: pd.DataFrame) -> Table:
    """For each attack, the image with the largest drop of DSC."""
    originals = rows.loc[rows["attack"] == "clean", [*_SAMPLE, "prompt"]]
    both = attacked(rows[rows["attack"] != BEST]).merge(
        originals.rename(columns={"prompt": "before"}), on=_SAMPLE, how="left"
    )
    both = both.assign(drop=both["dsc_clean"] - both["dsc"])
    worst = both.loc[
        both.groupby(["facet", "attack", "norm", "epsilon"], sort=False)["drop"].idxmax()
    ]
    columns = ["facet", "attack", "norm", "epsilon", "key", "before", "prompt", "dsc_clean", "dsc"]
    numbers = worst[columns].reset_index(drop=True)
    condition = zip(numbers["attack"], numbers["norm"], numbers["epsilon"], strict=True)
    shown = pd.DataFrame(
        {
            DATA: numbers["facet"],
            ATTACK: [text_label(*each) for each in condition],
            "Image": numbers["key"],
            "Prompt": numbers["before"].map(_short),
            "becomes": numbers["prompt"].map(_short),
            "DSC before": numbers["dsc_clean"].map("{:.2f}".format),
            "DSC after": numbers["dsc"].map("{:.2f}".format),
        }
    )
    return Table(
        name="text-examples",
        title="Largest drop under each attack on the prompt",
        caption=(
            "For each attack, the image with the largest drop of DSC, its prompt, and the attacked "
            "prompt. Attacks on the embedding do not change the prompt. "
            f"{provenance(_originals(rows))}"
        ),
        numbers=numbers,
        shown=shown,
        group_columns=(DATA,),
        text_columns=(DATA, ATTACK, "Image", "Prompt", "becomes"),
    )


def _originals(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per sample, for counting: an attacked prompt does not make a new sample."""
    return rows[rows["attack"] == "clean"]


def _short(prompt: str) -> str:
    """A prompt as a table can hold it.

    >>> _short(""), _short("polyp"), len(_short("a" * 200))
    ('(empty)', 'polyp', 160)
    """
    if not prompt:
        return "(empty)"
    return prompt if len(prompt) <= _SHOWN else f"{prompt[: _SHOWN - 1]}…"
