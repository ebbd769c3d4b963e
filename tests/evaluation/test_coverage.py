"""How often the intervals of the report hold the true mean, by simulation.

Each sample of a population gives one interval. ``docs/scripts/make_coverage.py`` draws the same
populations, with the intervals that were not chosen.
"""

from math import inf

import numpy as np
import pytest

from palpate.evaluation.statistics.intervals import CHANGE, SHARE, bounds
from palpate.evaluation.statistics.samples import Clusters

SAMPLES = 2000  # the standard error of a coverage of 93 % is 0.6 %


def often(common, rare, share=0.1):
    """Values of one population, and of another one in ten times."""
    return lambda rng, shape: np.where(
        rng.random(shape) < share, rare(rng, shape), common(rng, shape)
    )


def beta(a, b):
    return lambda rng, shape: rng.beta(a, b, shape)


def uniform(low, high):
    return lambda rng, shape: rng.uniform(low, high, shape)


def normal(mean, deviation):
    return lambda rng, shape: rng.normal(mean, deviation, shape)


def equal(value):
    return lambda _, shape: np.full(shape, value)


def drop(rng, shape):
    """DSC that an attack leaves of a clean one, less the clean one."""
    clean = SCORES["skewed"](rng, shape)
    return clean * rng.beta(0.6, 1.2, shape) - clean


SCORES = {
    "skewed": often(beta(12, 2), uniform(0, 0.4)),  # a good model that fails on one image in ten
    "attacked": beta(0.6, 1.2),
    "nearly all 0": often(uniform(0, 0.02), uniform(0.1, 0.7)),  # under a strong attack
    "exactly 0": often(equal(0.0), uniform(0.1, 0.7)),
    "nearly all 1": often(beta(60, 1.5), uniform(0.2, 0.8)),
    "bimodal": often(beta(12, 2), beta(1, 12), 0.4),
}
SHARES = {"shares": often(equal(1.0), equal(0.0))}
DIFFERENCES = {
    "drop": drop,
    "alike": normal(0.005, 0.03),
    "rarely worse": often(normal(0, 0.02), uniform(-0.6, -0.2)),
    "rarely changed": often(equal(0.0), uniform(-0.6, -0.2)),
}
DISTANCES = {
    "log-normal": lambda rng, shape: rng.lognormal(2, 1, shape),
    "failures": often(lambda rng, shape: rng.lognormal(2, 0.6, shape), uniform(80, 250)),
}
KINDS = {"score": SHARE, "share": SHARE, "difference": CHANGE, "distance": (0, inf)}
POPULATIONS = {
    f"{kind}: {name}": (kind, draw)
    for kind, some in zip(KINDS, (SCORES, SHARES, DIFFERENCES, DISTANCES), strict=True)
    for name, draw in some.items()
}


def samples(draw, rng, groups, size=1, number=SAMPLES):
    """Sums and sizes of groups; seven of ten values of a group are equal.

    Args:
        draw: Population.
        rng: Generator.
        groups: Number of groups in each sample.
        size: Values in a group; None for 1 to 12 values, 3 on average.
        number: Number of samples.
    """
    sizes = np.full((number, groups), size or 0)
    if size is None:
        sizes = np.minimum(rng.geometric(0.3, (number, groups)), 12)
    shape = (number, groups, sizes.max())
    same = draw(rng, (number, groups, 1))
    values = np.where(rng.random(shape) < 0.7, same, draw(rng, shape))
    values = values * (np.arange(shape[2]) < sizes[..., None])
    return Clusters(values.sum(-1), sizes.astype(float))


def covered(kind, draw, groups, size):
    """Share of the samples whose interval holds the true mean."""
    truth = draw(np.random.default_rng(9), 1_000_000).mean()
    found = samples(draw, np.random.default_rng(6), groups, size)
    extra = 1.0 if kind == "share" else 0.5
    low, high = bounds(
        found, limits=KINDS[kind], far_limits=kind == "difference", extra=extra, draws=1000
    )
    return np.mean((low <= truth + 1e-12) & (truth - 1e-12 <= high))


@pytest.mark.slow
@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_hold_the_true_mean_as_often_as_said(name):
    kind, draw = POPULATIONS[name]
    few = {} if kind == "distance" else {(10, 1): 0.9, (10, 2): 0.93, (10, None): 0.9}
    more = {(30, 1): 0.93, (50, 1): 0.93, (100, 1): 0.93, (30, None): 0.93}
    least = few | more
    if kind != "distance":
        least |= {(20, 1): 0.93, (25, 1): 0.93, (20, None): 0.93}
    found = {case: covered(kind, draw, *case) for case in least}
    # Two standard errors: below, 93 % are improbable.
    assert {case: share for case, share in found.items() if share < least[case] - 0.011} == {}


def test_the_interval_of_ten_skewed_scores_holds():
    """The percentile bootstrap misses the true mean in a quarter of these samples."""
    kind, draw = POPULATIONS["score: skewed"]
    assert covered(kind, draw, 10, 1) > 0.95
