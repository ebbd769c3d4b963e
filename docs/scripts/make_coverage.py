"""Draw ``docs/figures/coverage.png``: how often intervals hold the true mean, and their width.

python docs/scripts/make_coverage.py     # a minute; draws the populations of tests/evaluation
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t

from palpate.evaluation.statistics.intervals import bounds
from palpate.evaluation.statistics.samples import Clusters, standard_error

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "evaluation"))
from test_coverage import KINDS, POPULATIONS, samples  # noqa: E402

COUNTS = (5, 10, 20, 30, 50, 100)
SHOWN = {
    "score: skewed": "DSC, one image in ten fails",
    "score: nearly all 0": "DSC under a strong attack",
    "score: bimodal": "DSC, held or lost",
    "difference: rarely worse": "difference, one in ten worse",
}
SAMPLES, DRAWS = 1500, 1000


def student(found, _):
    mean = found.sums.sum(-1) / found.sizes.sum(-1)
    reach = t.ppf(0.975, found.sums.shape[-1] - 1) * standard_error(found)
    return mean - reach, mean + reach


def percentile(found, _):
    drawn = _resamples(found)[1]
    return np.quantile(drawn, 0.025, axis=-1), np.quantile(drawn, 0.975, axis=-1)


def bootstrap_t(found, _):
    """The resampled means, in standard errors of their own sample."""
    weights, drawn = _resamples(found)
    mean, error = found.sums.mean(-1), standard_error(found)
    squares = found.sums**2 @ weights.T / weights.sum(-1) - drawn**2
    errors = np.sqrt(np.maximum(squares, 0) / (found.sums.shape[-1] - 1))
    ratio = (drawn - mean[:, None]) / np.maximum(errors, 1e-9)
    low, high = np.quantile(ratio, [0.025, 0.975], axis=-1)
    return mean - high * error, mean - low * error


def guarded(found, kind):
    """Student's interval with one whole observation more at the limit."""
    ends = []
    for sign, limit in zip((-1, 1), KINDS[kind], strict=True):
        more = Clusters(*(np.pad(each, ((0, 0), (0, 1)), constant_values=v)
                          for each, v in zip(found, (limit, 1.0), strict=True)))  # fmt: skip
        reach = t.ppf(0.975, found.sums.shape[-1]) * standard_error(more)
        ends.append(more.sums.mean(-1) + sign * reach)
    return ends


def chosen(found, kind):
    return bounds(found, limits=KINDS[kind], far_limits=kind == "difference", draws=DRAWS)


METHODS = {
    "percentile bootstrap": percentile,
    "bootstrap-t": bootstrap_t,
    "Student's t": student,
    "Student's t, one more at the limit": guarded,
    "palpate": chosen,
}


def _resamples(found):
    count = found.sums.shape[-1]
    weights = np.random.default_rng(2).multinomial(count, [1 / count] * count, size=DRAWS)
    return weights, (found.sums @ weights.T) / (found.sizes @ weights.T)


def main() -> None:
    figure, axes = plt.subplots(2, len(SHOWN), figsize=(12, 5.4), sharex=True)
    for column, (name, title) in enumerate(SHOWN.items()):
        kind, draw = POPULATIONS[name]
        truth = draw(np.random.default_rng(9), 1_000_000).mean()
        lines = {method: [] for method in METHODS}
        for count in COUNTS:
            found = samples(draw, np.random.default_rng(6), count, number=SAMPLES)
            for method, interval in METHODS.items():
                low, high = (np.clip(end, *KINDS[kind]) for end in interval(found, kind))
                holds = (low <= truth + 1e-12) & (truth - 1e-12 <= high)
                lines[method].append((100 * holds.mean(), 100 * np.mean(high - low)))
                print(f"{name:26}{method:36}{count:4}{lines[method][-1][0]:7.1f}"
                      f"{lines[method][-1][1]:7.1f}")  # fmt: skip
        for row in (0, 1):
            for method, values in lines.items():
                bold = {"lw": 2.5, "color": "black"} if method == "palpate" else {"lw": 1.2}
                axes[row, column].plot(COUNTS, [v[row] for v in values], label=method, **bold)
        axes[0, column].axhspan(93, 100, color="tab:green", alpha=0.12, lw=0)
        axes[0, column].set(title=title, ylim=(55, 101), xscale="log")
        axes[1, column].set(ylim=(0, 65), xlabel="n", xticks=COUNTS, xticklabels=COUNTS)
        axes[1, column].minorticks_off()
    axes[0, 0].set_ylabel("holds the true mean, %")
    axes[1, 0].set_ylabel("width, points")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="lower center", ncol=5, frameon=False
    )
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(ROOT / "docs" / "figures" / "coverage.png", dpi=110)


if __name__ == "__main__":
    main()
