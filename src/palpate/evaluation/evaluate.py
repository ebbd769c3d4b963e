"""From a model, data and attacks to one row per image and condition."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from palpate.data import Samples
from palpate.evaluation.batches import BATCH_SIZE, list_cases
from palpate.evaluation.frozen import device_of, frozen, threshold_of
from palpate.evaluation.metrics import Metrics, find_metrics
from palpate.evaluation.protocol.protocol import SOUND, Protocol
from palpate.evaluation.protocol.published_pipeline import PublishedPipeline
from palpate.evaluation.resolve import Attacks, conditions_of, find_attacks
from palpate.evaluation.results.examples import ExampleStore
from palpate.evaluation.results.fingerprint import Fingerprint
from palpate.evaluation.results.store import RowStore, read_rows
from palpate.evaluation.runner import Runner
from palpate.evaluation.scoring import Precision, Scorer
from palpate.progress import Progress, silent
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
    progress: Progress = silent,
    stage: str = "attacks",
) -> pd.DataFrame:
    """Score ``model`` on clean samples and under attacks on their images, texts, or both.

    Attacks only return images or texts. Whether they kept to their ball, how far they went and
    what they achieved is measured here, on what they returned. A killed evaluation resumes when
    it is called again with the same ``out``: rows that exist are not computed again, and images
    whose rows all exist are not even loaded.

    >>> attacks = {
    ...     "pgd": partial(pgd, steps=40),  # an attack on images, at each of epsilons
    ...     "text-typos": "text-typos",  # the attack of this name
    ...     "joint": Joint(partial(pgd, epsilon=8 / 255), TEXT_ATTACKS["text-levels"]),
    ...     "medis-tables": Medis(targets=["untargeted", "white"]),
    ... }  # doctest: +SKIP
    >>> rows = evaluate(model, data, attacks, epsilons=[2 / 255, 8 / 255])  # doctest: +SKIP

    Args:
        model: Called as ``model(images, prompts=[...])``, images in [0, 1]. Its attribute
            ``threshold_logit``, 0 if it has none, is the logit above which a pixel is foreground.
            It is put into evaluation mode and its weights take no gradient meanwhile. Attacks on
            the text are much cheaper if it encodes image and text apart, as
            :class:`palpate.models.VLSM` does; attacks on tokens or on the embedding need that.
        data: Samples; of a data set with ``cases`` images are loaded only when they are needed.
        attacks: Attacks by the name they get in the table, or a list of names of palpate's attacks.
            Attacks on images are functions, given ``epsilon``, ``generator`` (a sequence, one per
            image), ``threshold`` and ``tau`` if they name them; one that names ``max_epsilon`` and
            no ``epsilon`` searches for the smallest perturbation and is run once. Attacks on the
            text are :class:`palpate.attacks.text.TextAttack`, on both
            :class:`palpate.evaluation.Joint`, and :class:`palpate.evaluation.Medis` gives the rows
            of the tables of MedIS.
        epsilons: Radii of the ball in units of pixel value, for attacks on images that have none
            bound.
        out: Folder of the rows. None keeps nothing but the table returned.
        seed: Seed of everything random; a column of the rows, so that a folder may hold several.
        batch_size: Images in a pass, at most; halved by itself where memory runs out.
        protocol: What happens between attack and score; its name is a column of the rows. Other
            attacks than those on images need the sound protocol.
        precision: Of the model while images are attacked. Scores, texts and MedIS are in single
            precision always.
        tolerance: Of the surface Dice, in pixels.
        tau: An attack succeeds if the DSC falls from above ``tau`` to ``tau`` or below.
        metrics: Names in :data:`palpate.evaluation.metrics.METRICS`, ``file.py:function``, or
            functions of ``(predictions, masks)`` and more, see
            :class:`palpate.evaluation.metrics.MetricInputs`; each is a column of the rows. None:
            DSC, IoU, mIoU, HD95 and NSD.
        limit: Only the first so many samples; attacks on the text still borrow texts from all.
        texts_at_once: Texts decoded together for one image, at most. None: 32, or ``batch_size``
            if the model encodes the image anew for every text.
        examples: Keeps the images of a few samples under attacks on images.
        fingerprint: What else the rows depend on, e.g. the hash of a checkpoint's file.
        workers: Threads that read the next images meanwhile; ``data`` must allow that.
        progress: Called after each batch and condition with the number of rows and the condition.
        stage: Name of this evaluation for ``progress``.

    Returns:
        One row per sample and condition, clean images included, see
        :class:`palpate.evaluation.Row`; ordered by :class:`palpate.evaluation.Identity`.

    Raises:
        ValueError: If ``out`` holds rows of another evaluation, an argument makes no sense, two
            samples cannot be told apart, or an attack left its ball. Rows computed before stay.
        FloatingPointError: If the model returns NaN or infinity.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"Expected limit >= 1, got {limit}.")
    wanted, cases = find_attacks(attacks), list_cases(data)
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
        stack.enter_context(frozen(model))
        store = stack.enter_context(RowStore(folder, made_of, metrics=scored))
        runner = Runner(scorer, conditions, cases[:limit], store, examples)
        runner.run(
            data,
            batch_size=batch_size,
            device=device_of(model),
            workers=workers,
            report_progress=partial(progress, stage),
        )
        return runner.select(read_rows(folder))
