"""The one attack and radius that the first sentence and the single-condition charts are about."""

from dataclasses import dataclass

import pandas as pd

from palpate.reporting.labels import CONTROL


@dataclass(frozen=True)
class Focus:
    """A condition: attack, norm and radius in units of pixel value."""

    attack: str
    norm: str
    epsilon: float


def choose_focus(scores: pd.DataFrame) -> Focus | None:
    """The strongest attack, at the smallest radius that halves the clean DSC.

    Strongest is what has the lowest DSC in most places where attacks meet. Where no radius halves
    the DSC, averaged over data sets and structures, the largest is taken. None without attacks.
    """
    attacks = scores[scores["attack"] != "clean"]
    real = attacks[attacks["attack"] != CONTROL]
    real = attacks if real.empty else real
    if real.empty:
        return None
    places = real.groupby(["facet", "norm", "epsilon"])["dsc"].rank()
    ranked = real.assign(place=places).groupby(["attack", "norm"], sort=False)[["place", "dsc"]]
    attack, norm = ranked.mean().sort_values(["place", "dsc"], kind="stable").index[0]
    some = real[(real["attack"] == attack) & (real["norm"] == norm)]
    means = some.groupby("epsilon")["dsc"].mean()
    halving = means[means < scores.loc[scores["attack"] == "clean", "dsc"].mean() / 2]
    epsilon = halving.index.min() if len(halving) else means.index.max()
    return Focus(str(attack), str(norm), float(epsilon))
