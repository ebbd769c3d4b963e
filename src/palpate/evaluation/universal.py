"""Fit a universal perturbation to a model and a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from palpate.attacks import UniversalPerturbation, fit_universal
from palpate.attacks.universals import FitBatch
from palpate.data import Samples
from palpate.data.sample import Case, collate
from palpate.evaluation.batches import BATCH_SIZE, list_cases, windows
from palpate.evaluation.frozen import device_of, frozen, threshold_of
from palpate.evaluation.results.describe import describe_model, hash_weights
from palpate.evaluation.results.fingerprint import hash_data
from palpate.types import Segmenter


def fit_universal_on(
    model: Segmenter,
    data: Samples,
    *,
    epsilon: float,
    batch_size: int = BATCH_SIZE,
    limit: int | None = None,
    **settings: Any,
) -> UniversalPerturbation:
    """Fit a universal perturbation to a data set with :func:`palpate.attacks.fit_universal`.

    The result records which model and samples it was fitted on. Evaluate it on other samples,
    together with its two controls::

        p = fit_universal_on(model, train, epsilon=8 / 255, state="uap/state.safetensors")
        attacks = {
            "universal": partial(universal, perturbation=p),
            "shuffled": partial(universal, perturbation=p, shuffled=True),
            "noise": noise,
        }
        evaluate(model, test, attacks, epsilons=[p.epsilon])

    Args:
        model: Called as ``model(images, prompts=[...])``. During the fit it is in evaluation mode
            and its parameters require no gradient.
        data: Training samples, all of one image size; loaded when they are needed.
        epsilon: Radius of the ball, in units of pixel value in [0, 1].
        batch_size: Images per step.
        limit: Use only the first ``limit`` samples.
        settings: Passed to :func:`palpate.attacks.fit_universal`.

    Returns:
        The fitted perturbation.

    Raises:
        ValueError: See :func:`palpate.attacks.fit_universal`.
    """
    cases = list_cases(data)[:limit]
    batches = _Batches(data, tuple(map(tuple, windows(len(cases), batch_size))), device_of(model))
    made_of = {
        "weights": hash_weights(model),
        **describe_model(model),
        "data": hash_data(data, cases),
        "samples": _told(cases),
        "batch_size": str(batch_size),
        **settings.pop("made_of", {}),
    }
    settings = {"threshold": threshold_of(model)} | settings
    with frozen(model):
        return fit_universal(model, batches, epsilon=epsilon, made_of=made_of, **settings)


@dataclass(frozen=True)
class _Batches(Sequence[FitBatch]):
    """Batches that are loaded on access."""

    data: Samples
    windows: tuple[tuple[int, ...], ...]
    device: torch.device

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: Any) -> Any:
        batch = collate([self.data[i] for i in self.windows[index]])
        images, masks = batch.images.to(self.device), batch.masks.to(self.device)
        ignored = None if batch.ignored is None else batch.ignored.to(self.device)
        whole = images, masks, batch.prompts, batch.boxes
        return whole if ignored is None else (*whole, ignored)


def _told(cases: Sequence[Case]) -> str:
    """Describe the data sets and splits, with the number of samples of each."""
    kinds = [f"{case.dataset} {case.split}" for case in cases]
    return ", ".join(f"{kind}: {kinds.count(kind)}" for kind in dict.fromkeys(kinds))
