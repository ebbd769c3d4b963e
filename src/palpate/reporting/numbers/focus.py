"""Choice of the attack and radius for the headline and the single-condition charts."""

from dataclasses import dataclass

import pandas as pd

from palpate.reporting.labels import CONTROL, WORST


@dataclass(frozen=True)
class Focus:
    """A condition: attack, norm and radius in units of pixel value.

    Attributes:
        attack: Name of the attack.
        norm: Its norm.
        epsilon: Its radius.
        over: For the worst case, the attacks that it is taken over.
    """

    attack: str
    norm: str
    epsilon: float
    over: tuple[str, ...] = ()

    @property
    def single(self) -> str:
        """The attack itself; for the worst case, PGD, or the last of its attacks without PGD."""
        alike = [attack for attack in self.over if attack.startswith("pgd")]
        return (alike or self.over)[-1] if self.over else self.attack


def choose_focus(scores: pd.DataFrame) -> Focus | None:
    """Choose the strongest attack, at the smallest radius that halves the mean clean DSC.

    Attacks are ranked by DSC in every facet, norm and radius that two or more of them share; the
    strongest has the lowest mean rank. If no attacks share a condition, it has the lowest mean
    DSC. Of equally strong ones, the worst case over the white-box attacks is chosen. If no radius
    halves the DSC, averaged over data sets and structures, the largest radius is taken.

    Args:
        scores: Mean scores per condition; see :func:`palpate.reporting.numbers.summary.scores`.

    Returns:
        The condition; None if there are no attacks.
    """
    attacks = scores[scores["attack"] != "clean"]
    real = attacks[attacks["attack"] != CONTROL]
    real = attacks if real.empty else real
    if real.empty:
        return None
    real = _complete(real)
    real = real.assign(place=_places(real), single=real["attack"] != WORST)
    ranked = real.groupby(["attack", "norm"], sort=False)[["place", "dsc", "single"]].mean()
    order = ["place", "dsc", "single"]
    attack, norm = ranked.sort_values(order, kind="stable").index[0]
    some = real[(real["attack"] == attack) & (real["norm"] == norm)]
    means = some.groupby("epsilon")["dsc"].mean()
    halving = means[means < scores.loc[scores["attack"] == "clean", "dsc"].mean() / 2]
    epsilon = halving.index.min() if len(halving) else means.index.max()
    return Focus(str(attack), str(norm), float(epsilon))


def _complete(scores: pd.DataFrame) -> pd.DataFrame:
    """Select the conditions that cover all images and most facets; all of them if none does."""
    wanted = scores.groupby("facet")["n"].max()
    is_short = scores["n"] < scores["facet"].map(wanted)
    condition = [scores[name] for name in ("attack", "norm", "epsilon")]
    cut = is_short.groupby(condition).transform("any")
    covered = scores.groupby(condition)["facet"].transform("nunique")
    whole = scores[~cut & (covered == covered[~cut].max())]
    return scores if whole.empty else whole


def _places(scores: pd.DataFrame) -> pd.Series:
    """Rank of each attack by DSC, from 0 (lowest) to 1 (highest); NaN for an attack alone."""
    there = scores.groupby(["facet", "norm", "epsilon"])["dsc"]
    others = there.transform("size") - 1
    return (there.rank() - 1) / others.where(others > 0)
