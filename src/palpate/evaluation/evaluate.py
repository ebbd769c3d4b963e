"""Evaluates a model on a data set: one row per image and condition."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from palpate.atomic import removed_if_failed
from palpate.data import Samples
from palpate.evaluation.batches import BATCH_SIZE, list_cases
from palpate.evaluation.frozen import device_of, frozen, threshold_of
from palpate.evaluation.metrics import Metrics, find_metrics
from palpate.evaluation.protocol.protocol import SOUND, Protocol
from palpate.evaluation.protocol.published_pipeline import PublishedPipeline
from palpate.evaluation.resolve import Attacks, conditions_of, find_attacks
from palpate.evaluation.results.examples import ExampleStore
from palpate.evaluation.results.fingerprint import Fingerprint
from palpate.evaluation.results.store import STORE_RECORDS, RowStore, read_rows
from palpate.evaluation.runner import Recheck, Runner
from palpate.evaluation.scoring import Precision, Scorer
from palpate.progress import Progress, silent
from palpate.progress_bars import show_progress
from palpate.prompting import refuse_missing_prompts
from palpate.types import Segmenter


def evaluate(
    model: Segmenter,
    data: Samples,
    attacks: Attacks,
    *,
    epsilons: Sequence[float] | None = None,
    out: Path | str | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    protocol: Protocol = SOUND,
    precision: Precision = "fp32",
    tolerance: float = 2.0,
    tau: float = 0.5,
    metrics: Metrics | None = None,
    limit: int | None = None,
    texts_at_once: int | None = None,
    examples: ExampleStore | None = None,
    fingerprint: Fingerprint | None = None,
    workers: int = 0,
    recheck: Recheck | None = None,
    progress: Progress | bool = True,
    stage: str = "attacks",
) -> pd.DataFrame:
    """Score ``model`` on clean samples and under attacks on their images, texts, or both.

    Attacks return only images or texts; their size and their effect are measured here, on what
    they returned. To resume an interrupted evaluation, call it again with the same ``out``:
    existing rows are not computed again, and images whose rows all exist are not loaded.

    >>> attacks = {
    ...     "pgd": partial(pgd, steps=40),  # an attack on images, at each of epsilons
    ...     "text-typos": "text-typos",  # the attack of this name
    ...     "joint": Joint(partial(pgd, epsilon=8 / 255), TEXT_ATTACKS["text-levels"]),
    ...     "medis-tables": Medis(targets=["untargeted", "white"]),
    ... }  # doctest: +SKIP
    >>> rows = evaluate(model, data, attacks, epsilons=[2 / 255, 8 / 255])  # doctest: +SKIP

    Args:
        model: Called as ``model(images, prompts=[...])``, images in [0, 1]. Its attribute
            ``threshold_logit`` (default 0) is the logit above which a pixel is foreground. During
            the evaluation the model is in evaluation mode and its parameters require no gradient.
            Attacks on the text are much cheaper if the model encodes image and text separately, as
            :class:`palpate.models.VLSM` does; attacks on tokens or embeddings require this.
        data: Samples. If the data set has ``cases``, images are loaded only when they are needed.
        attacks: Attacks by their names in the rows; or a list of functions, which keep their own
            names, and names of palpate's attacks.
            Attacks on images are functions; ``epsilon``, ``generator`` (one per image),
            ``threshold`` and ``tau`` are passed if the signature names them. One with
            ``max_epsilon`` and no ``epsilon`` searches for the smallest perturbation and is run
            once. Attacks on the text are :class:`palpate.attacks.text.TextAttack`, attacks on both
            are :class:`palpate.evaluation.Joint`, and :class:`palpate.evaluation.Medis` gives the
            rows for the tables of MedIS.
        epsilons: Radii of the ball in units of pixel value in [0, 1], for attacks on images
            without a bound ``epsilon``.
        out: Folder for the rows. None: the rows are only returned.
        seed: Seed of all random numbers. It is a column of the rows, so one folder may hold rows
            of several seeds.
        batch_size: Maximum number of images per forward pass; halved automatically if GPU memory
            runs out.
        protocol: How attacked images are stored, prompted and scored; its name is a column of the
            rows. Only attacks on images support protocols other than the sound one.
        precision: Precision of the model during attacks on images. Scores, attacks on texts and
            MedIS always use single precision.
        tolerance: Tolerance of the normalised surface Dice, in pixels.
        tau: An attack succeeds if the DSC falls from above ``tau`` to ``tau`` or below; in [0, 1).
        metrics: Names in :data:`palpate.evaluation.metrics.METRICS`, ``file.py:function``, or
            functions of ``(predictions, masks)`` and more, see
            :class:`palpate.evaluation.metrics.MetricInputs`; each is a column of the rows. None:
            DSC, IoU, mIoU, HD95 and NSD.
        limit: Evaluate only the first ``limit`` samples; attacks on the text may still use the
            texts of all samples.
        texts_at_once: Maximum number of texts decoded together for one image. None: 32, or
            ``batch_size`` if the model encodes the image again for every text.
        examples: Store for the images of a few samples under attacks on images.
        fingerprint: Further things that the rows depend on, e.g. the hash of a checkpoint file.
        workers: Threads that load the next images in the background; ``data`` must be thread-safe.
        recheck: Compute only these rows, to compare them with stored ones; ``out`` must be new.
        progress: True: show progress in a terminal or notebook. False: show nothing. A function is
            called after each batch and condition with the number of rows and the condition.
        stage: Name of this evaluation for ``progress``.

    Returns:
        One row per sample and condition, including the clean images; see
        :class:`palpate.evaluation.Row`. Rows are sorted by :class:`palpate.evaluation.Identity`.

    Raises:
        ValueError: If ``out`` holds rows of another evaluation, an argument is invalid, two
            samples have the same identity, or an attack left its epsilon ball. Rows computed
            before the error are kept.
        FloatingPointError: If the model returns NaN or infinity.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"Expected limit >= 1, got {limit}.")
    wanted, cases = find_attacks(attacks), list_cases(data)
    refuse_missing_prompts(model, {case.prompt_level for case in cases})
    scored = find_metrics(metrics)
    scorer = Scorer(
        model=model,
        threshold=threshold_of(model),
        seed=seed,
        protocol=protocol,
        precision=precision,
        tolerance=tolerance,
        tau=tau,
        metrics=scored,
        pipeline=None if protocol.is_sound else PublishedPipeline(data, cases, protocol, seed),
    )
    conditions = conditions_of(
        wanted,
        scorer,
        data,
        cases,
        epsilons=epsilons,
        limit=limit,
        texts_at_once=texts_at_once,
        batch_size=batch_size,
    )
    described = {k: v for condition in conditions for k, v in condition.describe().items()}
    made_of = scorer.made_of(data, cases) | described | dict(fingerprint or {})
    with ExitStack() as stack:
        folder = Path(out or stack.enter_context(TemporaryDirectory()))
        stack.enter_context(removed_if_failed(folder, STORE_RECORDS))
        stack.enter_context(frozen(model))
        store = stack.enter_context(RowStore(folder, made_of, metrics=scored))
        runner = Runner(scorer, conditions, cases[:limit], store, examples)
        if recheck is not None:
            runner.restrict(recheck, batch_size)
        with _shown(progress) as told:
            runner.run(
                data,
                batch_size=batch_size,
                device=device_of(model),
                workers=workers,
                report_progress=partial(told, stage),
            )
        return runner.select(read_rows(folder))


def _shown(progress: Progress | bool) -> AbstractContextManager[Progress]:
    if progress is True:
        return show_progress(lines=False)
    return nullcontext(silent if progress is False else progress)
