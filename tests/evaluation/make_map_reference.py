"""Writes `map_reference.npz`: 30 grey maps with masks, and what pysodmetrics 1.6.2 says of them.

`scores`: MAE, S-measure and weighted F; `means` and `curves`: Dice, IoU and E-measure, the mean
over all thresholds and the values at every fifth.

    pip install --no-deps --target SOMEWHERE pysodmetrics==1.6.2
    PYTHONPATH=SOMEWHERE python tests/evaluation/make_map_reference.py

Its imports of OpenCV and scikit-image, which the metrics used here do not call, are replaced.
https://github.com/lartpang/PySODMetrics, MIT License.
"""

import sys
import warnings
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
from scipy.ndimage import gaussian_filter

MAPS, SHAPE = 30, (31, 44)


def drawn(seed):
    """A smooth blob as mask, and a map that finds it more or less well."""
    draw = np.random.default_rng(seed)
    blob = gaussian_filter(draw.standard_normal(SHAPE), 4)
    truth = blob > np.quantile(blob, draw.uniform(0.5, 0.97))
    noise = gaussian_filter(draw.standard_normal(SHAPE), draw.uniform(0.5, 5))
    found = blob / blob.std() + draw.uniform(0, 2) * noise / noise.std()
    found = 1 / (1 + np.exp(-draw.uniform(0.5, 6) * (found - np.quantile(found, 1 - truth.mean()))))
    found = (found - found.min()) / (found.max() - found.min() + 1e-8)
    return np.round(255 * found).astype(np.uint8), truth


def published(found, truth):
    """The scores of one map, and its Dice, IoU and E-measure at each threshold 0 to 255."""
    from py_sod_metrics import (
        MAE,
        DICEHandler,
        Emeasure,
        FmeasureV2,
        IOUHandler,
        Smeasure,
        WeightedFmeasure,
    )

    grey = (255 * truth).astype(np.uint8)
    metrics = {"mae": MAE(), "sm": Smeasure(), "wfm": WeightedFmeasure(), "em": Emeasure()}
    handlers = {
        name: kind(with_dynamic=True, with_adaptive=False)
        for name, kind in (("dice", DICEHandler), ("iou", IOUHandler))
    }
    curves = FmeasureV2(handlers)
    for metric in (*metrics.values(), curves):
        metric.step(found, grey)
    scores = [metrics[name].get_results()[name] for name in ("mae", "sm", "wfm")]
    em = metrics["em"].get_results()["em"]["curve"]
    both = curves.get_results()
    # Its curves begin with the highest threshold.
    return scores, [c[::-1] for c in (both["dice"]["dynamic"], both["iou"]["dynamic"], em)]


if __name__ == "__main__":
    for name in ("cv2", "skimage", "skimage.color", "skimage.measure", "skimage.morphology"):
        sys.modules[name] = MagicMock()
    warnings.simplefilter("ignore")
    pairs = [drawn(seed) for seed in range(MAPS)]
    told = [published(*pair) for pair in pairs]
    np.savez_compressed(
        Path(__file__).with_name("map_reference.npz"),
        maps=np.stack([found for found, _ in pairs]),
        truths=np.stack([truth for _, truth in pairs]),
        scores=np.array([scores for scores, _ in told]),
        means=np.array([np.mean(curves, 1) for _, curves in told]),
        curves=np.array([np.stack(curves)[:, ::5] for _, curves in told], dtype=np.float32),
    )
