"""From a model, data and attacks to one row per image and attack."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pandas as pd

from palpate.data import Samples
from palpate.data.sample import Batch, Case
from palpate.evaluation.batches import list_cases, load, select, windows
from palpate.evaluation.conditions import UNTOUCHED, Trial, plan
from palpate.evaluation.frozen import device_of, frozen, threshold_of
from palpate.evaluation.image_scores import Answer
from palpate.evaluation.metrics import Metrics, find_metrics
from palpate.evaluation.protocol.protocol import SOUND, Protocol
from palpate.evaluation.protocol.published_pipeline import Staging
from palpate.evaluation.results.describe import describe
from palpate.evaluation.results.examples import ExampleStore
from palpate.evaluation.results.fingerprint import Fingerprint
from palpate.evaluation.results.rows import Identity
from palpate.evaluation.results.store import RowStore, read_rows
from palpate.evaluation.scoring import Bench, Precision, Result
from palpate.oom import Portions
from palpate.progress import Progress, silent
from palpate.types import Attack, Segmenter

Tell: TypeAlias = Callable[[int, int, str], None]


def evaluate(
    model: Segmenter,
    data: Samples,
    attacks: Mapping[str, Attack],
    *,
    epsilons: Sequence[float] | None = None,
    out: Path | str | None = None,
    seed: int = 0,
    batch_size: int = 8,
    protocol: Protocol = SOUND,
    precision: Precision = "fp32",
    tolerance: float = 2.0,
    tau: float = 0.5,
    metrics: Metrics | None = None,
    limit: int | None = None,
    examples: ExampleStore | None = None,
    fingerprint: Fingerprint | None = None,
    workers: int = 0,
    progress: Progress = silent,
    stage: str = "attacks",
) -> pd.DataFrame:
    """Score ``model`` on clean and on attacked images.

    Attacks only return images. Whether they kept to their ball, how far they went and what they
    achieved is measured here, on what they returned. A killed evaluation goes on where it was
    when called again with the same ``out``; rows that exist are not computed again, and images
    whose rows all exist are not even loaded.

    Args:
        model: Called as ``model(images, prompts=[...])``, images in [0, 1]. Its attribute
            ``threshold_logit``, 0 where it has none, says above which logit a pixel is
            foreground. It is put into evaluation mode and its weights take no gradient meanwhile.
        data: Samples; a data set with ``cases`` tells what there is without loading images.
        attacks: By the name they get in the table, e.g. ``{"pgd": partial(pgd, steps=40)}``.
            ``epsilon``, ``generator`` (a sequence, one per image), ``threshold`` and ``tau`` are
            passed to those that name them. One that names ``max_epsilon`` and no ``epsilon``
            looks for the smallest perturbation and is run once.
        epsilons: Radii of the ball in units of pixel value, for the attacks that have none bound.
        out: Folder of the rows. None keeps nothing but the table returned.
        seed: Of everything random; a column of the rows, so that a folder may hold several.
        batch_size: Images attacked at once; halved by itself where memory runs out.
        protocol: What happens between attack and score; its name is a column of the rows.
        precision: Of the model while it is attacked. Answers are in single precision always.
        tolerance: Of the surface Dice, in pixels.
        tau: An attack succeeds where it takes an image from above this DSC to it or below.
        metrics: Names in :data:`palpate.metrics.METRICS`, ``file.py:function``, or functions of
            ``(predictions, masks)`` and more, see :class:`palpate.metrics.MetricInputs`; each is a
            column of the rows. None: DSC, IoU, mIoU, HD95 and NSD.
        limit: Only the first so many samples.
        examples: Where to keep the images of a few samples.
        fingerprint: Whatever else the rows depend on, e.g. the hash of a checkpoint's file.
        workers: Threads that read the next images meanwhile; ``data`` must allow that.
        progress: Told after each batch and trial how many rows there are and what was just done.
        stage: What progress calls this.

    Returns:
        The rows asked for, ordered by :class:`palpate.evaluation.results.rows.Identity`.

    Raises:
        ValueError: If ``out`` holds rows of another evaluation, an argument makes no sense, or an
            attack returned what it must not. Rows that were computed until then stay.
        FloatingPointError: If the model answers with NaN or infinity.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"Expected limit >= 1, got {limit}.")
    scored = find_metrics(metrics)
    trials = plan(attacks, epsilons, tau)
    all_cases = list_cases(data)
    bench = Bench(model, threshold_of(model), seed, protocol, precision, tolerance, tau, scored)
    described = {t.name: describe(t.attack) for t in trials if t != UNTOUCHED}
    made_of = bench.made_of(data, all_cases, described) | dict(fingerprint or {})
    cases = all_cases[:limit]
    with ExitStack() as stack:
        folder = Path(out or stack.enter_context(TemporaryDirectory()))
        stack.enter_context(frozen(model))
        store = stack.enter_context(RowStore(folder, made_of, metrics=scored))
        staging = None if protocol == SOUND else Staging(data, all_cases, protocol, seed)
        run = _Run(bench, cases, trials, store, examples, staging)
        portions = Portions(batch_size)
        lacking = [
            [i for i in window if any(run.misses(cases[i], t) for t in trials)]
            for window in windows(len(cases), batch_size)
        ]
        for batch in load(data, cases, lacking, device_of(model), workers):
            run.batch(batch, portions, partial(progress, stage))
        store.flush()
        return run.table(read_rows(folder))


class _Run:
    """The rows that are asked for, and those that are still missing."""

    def __init__(
        self,
        bench: Bench,
        cases: Sequence[Case],
        trials: Sequence[Trial],
        store: RowStore,
        examples: ExampleStore | None,
        staging: Staging | None,
    ) -> None:
        self.staging = staging
        self.bench, self.trials, self.store, self.examples = bench, trials, store, examples
        self.shown = examples.choose(cases) if examples else frozenset()
        self.wanted = {bench.identify(case, trial) for case in cases for trial in trials}
        self.missing = {identity for identity in self.wanted if not self._exists(identity)}

    def misses(self, case: Case, trial: Trial) -> bool:
        return self.bench.identify(case, trial) in self.missing

    def batch(self, batch: Batch, portions: Portions, tell: Tell) -> None:
        """Compute the missing rows of a batch, trial by trial."""
        clean = portions.run(partial(self._look, batch), range(len(batch.cases)))
        for trial in self.trials:
            lacking = [i for i, case in enumerate(batch.cases) if self.misses(case, trial)]
            self._keep(portions.run(partial(self._press, batch, clean, trial), lacking))
            tell(len(self.wanted) - len(self.missing), len(self.wanted), str(trial))

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Of all rows of a store those that were asked for."""
        names = rows[list(Identity._fields)].itertuples(index=False, name=None)
        return rows[[name in self.wanted for name in names]].reset_index(drop=True)

    def _exists(self, identity: Identity) -> bool:
        if self.examples and identity.key in self.shown and not self.examples.has(identity):
            return False
        return self.store.done(identity)

    def _look(self, batch: Batch, positions: list[int]) -> list[Answer]:
        part = select(batch, positions)
        if self.staging is None:
            return self.bench.look(part, part.images)
        seen = self.staging.scored(part, UNTOUCHED)
        return self.bench.look(seen, part.images, self.staging.truth(part))

    def _press(
        self, batch: Batch, clean: list[Answer], trial: Trial, positions: list[int]
    ) -> list[Result]:
        part, before = select(batch, positions), [clean[i] for i in positions]
        return self.bench.press(part, before, trial, self.staging)

    def _keep(self, results: Sequence[Result]) -> None:
        for result in results:  # examples first: where there is a row there is its example
            if self.examples and result.row.key in self.shown:
                self.examples.save(result.row, result.image, result.mask, result.prediction)
        self.store.add([result.row for result in results])
        self.missing.difference_update(result.row.identity for result in results)
