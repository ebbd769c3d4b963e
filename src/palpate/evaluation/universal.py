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
    """:func:`palpate.attacks.fit_universal` on samples, remembering which and by which model.

    Evaluate the result on samples that are not among these, beside its two controls::

        p = fit_universal_on(model, train, epsilon=8 / 255, state="uap/state.safetensors")
        attacks = {
            "universal": partial(universal, perturbation=p),
            "shuffled": partial(universal, perturbation=p, shuffled=True),
            "noise": noise,
        }
        evaluate(model, test, attacks, epsilons=[p.epsilon])

    Args:
        model: Called as ``model(images, prompts=[...])``; in evaluation mode and without
            gradients of its weights meanwhile.
        data: Samples of one size, loaded as they are needed; those of the training split.
        epsilon: Radius of the ball, in units of pixel value.
        batch_size: Images a step.
        limit: Only the first so many samples.
        settings: Handed on to :func:`palpate.attacks.fit_universal`.

    Raises:
        ValueError: As :func:`palpate.attacks.fit_universal` says.
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
        return images, masks, batch.prompts, batch.boxes


def _told(cases: Sequence[Case]) -> str:
    """Data sets and splits, with the number of samples of each."""
    kinds = [f"{case.dataset} {case.split}" for case in cases]
    return ", ".join(f"{kind}: {kinds.count(kind)}" for kind in dict.fromkeys(kinds))
