"""Rows of attacks on the text of a prompted model, alone or together with the image."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from palpate.attacks.text import TEXT_ATTACKS, Prompted, PromptSource, Whole
from palpate.data import Samples
from palpate.data.sample import Batch, Case
from palpate.evaluation.batches import list_cases, load
from palpate.evaluation.conditions import UNTOUCHED, Trial
from palpate.evaluation.cost import Tally
from palpate.evaluation.frozen import device_of, frozen, threshold_of
from palpate.evaluation.image_scores import Answer, answer
from palpate.evaluation.protocol.protocol import SOUND, Protocol
from palpate.evaluation.results.fingerprint import Fingerprint
from palpate.evaluation.results.rows import Identity
from palpate.evaluation.results.store import RowStore, read_rows
from palpate.evaluation.scoring import Bench, Result, naming
from palpate.evaluation.text.conditions import AnyTextAttack, Attacked, TextTrial, plan_texts
from palpate.evaluation.text.query_count import queried
from palpate.evaluation.text.sources import hash_sources, text_sources
from palpate.progress import Progress, silent
from palpate.types import Segmenter


def evaluate_texts(
    model: Prompted | Segmenter,
    data: Samples,
    attacks: Mapping[str, AnyTextAttack] = TEXT_ATTACKS,
    *,
    out: Path | str | None = None,
    seed: int = 0,
    protocol: Protocol = SOUND,
    tolerance: float = 2.0,
    tau: float = 0.5,
    limit: int | None = None,
    at_once: int = 32,
    fingerprint: Fingerprint | None = None,
    workers: int = 0,
    progress: Progress = silent,
    stage: str = "texts",
) -> pd.DataFrame:
    """Score ``model`` on prompts and on what attacks make of them.

    Attacks only return texts (or conditions, or images too); what they achieved is measured here
    by an ordinary forward pass. In a row, ``prompt`` is the attacked text and ``prompt_level`` the
    level of the original; ``dsc_clean`` is under the original. ``norm`` is ``"text"`` and
    ``epsilon`` 0 but for attacks on the condition, whose prompt stays the original's, and joint
    ones, which have those of the image. ``forwards`` counts texts answered, ``backwards`` gradients
    through the decoder. Where an attack does not apply to a text there is no row.

    Samples are attacked one by one, so that no sample can change the row of another. A killed
    evaluation goes on where it was when called again with the same ``out``, which may be the
    folder of :func:`palpate.evaluation.evaluate` on the same model and data.

    Args:
        model: Best one that takes image and text apart, as :class:`palpate.models.VLSM` does;
            any other is asked as a whole for every text, and has nothing that attacks on tokens
            or on the embedding could use.
        data: Samples; all levels of a text are known of a data set with ``texts``.
        attacks: By the name they get in the table.
        out: Folder of the rows. None keeps nothing but the table returned.
        seed: Of everything random.
        protocol: Its name is a column of the rows; nothing is stored or drawn anew here.
        tolerance: Of the surface Dice, in pixels.
        tau: An attack succeeds where it takes an image from above this DSC to it or below.
        limit: Only the first so many samples; texts are still borrowed from all.
        at_once: Texts decoded together, to bound memory.
        fingerprint: Whatever else the rows depend on.
        workers: Threads that read the next images meanwhile; ``data`` must allow that.
        progress: Told after each sample how many are done.
        stage: What progress calls this.

    Returns:
        The rows asked for, clean ones among them, ordered by
        :class:`palpate.evaluation.results.rows.Identity`.

    Raises:
        ValueError: If ``out`` holds rows of another evaluation, two samples cannot be told apart,
            an argument makes no sense, or an attack left its region.
        FloatingPointError: If the model answers with NaN or infinity.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"Expected limit >= 1, got {limit}.")
    trials = plan_texts(attacks)
    cases = list_cases(data)
    sources = text_sources(data, cases)
    bench = Bench(model, threshold_of(model), seed, protocol, "fp32", tolerance, tau)
    texts = f"texts {hash_sources(sources)}"
    described = {trial.row.name: f"{trial.describe()} with {texts}" for trial in trials}
    made_of = bench.made_of(data, cases, described) | dict(fingerprint or {})
    cases = cases[:limit]
    with ExitStack() as stack:
        folder = Path(out or stack.enter_context(TemporaryDirectory()))
        stack.enter_context(frozen(model))
        store = stack.enter_context(RowStore(folder, made_of))
        run = _Run(bench, cases, sources, trials, read_rows(folder))
        lacking = [index for index in range(len(cases)) if run.lacks(index)]
        samples = load(data, cases, [[index] for index in lacking], device_of(model), workers)
        for index, case in enumerate(cases):
            if index in lacking:
                sample = next(samples)
                asked = model if isinstance(model, Prompted) else Whole(model, sample.boxes)
                pressed = run.press(index, sample, asked, at_once)
                store.add([result.row for result in pressed])
            progress(stage, index + 1, len(cases), case.key)
        store.flush()
        return run.table(read_rows(folder))


class _Run:
    """The rows that are asked for, and those that are still missing.

    A row is known by all of its identity but the prompt, which nobody knows before the attack.
    """

    def __init__(
        self,
        bench: Bench,
        cases: Sequence[Case],
        sources: Sequence[PromptSource],
        trials: Sequence[TextTrial],
        rows: pd.DataFrame,
    ) -> None:
        self.bench, self.cases, self.sources, self.trials = bench, cases, sources, trials
        rowed = [UNTOUCHED, *(trial.row for trial in trials)]
        names = [self._name(case, row) for case in cases for row in rowed]
        self.wanted = set(names)
        if len(self.wanted) < len(names):
            raise ValueError(
                "Expected samples that differ in key or prompt level, got two that do not; their "
                "rows could not be told apart once their texts are changed."
            )
        self.done = set(map(_promptless, _identities(rows)))

    def lacks(self, index: int) -> bool:
        """Whether a row of this sample is missing."""
        return self._is_missing(index, UNTOUCHED) or bool(self._missing(index))

    def press(self, index: int, sample: Batch, model: Prompted, at_once: int) -> list[Result]:
        """Compute the missing rows of a sample."""
        clean = self.bench.look(sample, sample.images)
        results = []
        if self._is_missing(index, UNTOUCHED):
            results += self.bench.press(sample, clean, UNTOUCHED)
        for trial in self._missing(index):
            tally = Tally()
            with tally, naming(trial.row, sample):
                attacked = trial.run(
                    queried(model, tally),
                    sample,
                    self.sources[index],
                    threshold=self.bench.threshold,
                    at_once=at_once,
                    seed=self.bench.seed,
                )
            if attacked is not None:
                renamed = _with_prompt(sample, attacked.prompt)
                results += self.bench.record(
                    renamed,
                    trial.row,
                    clean,
                    self._answers(model, renamed, attacked),
                    attacked.images,
                    tally.per_image(1),
                )
        return results

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Of all rows of a store those that were asked for."""
        names = map(_promptless, _identities(rows))
        return rows[[name in self.wanted for name in names]].reset_index(drop=True)

    def _answers(self, model: Prompted, sample: Batch, attacked: Attacked) -> list[Answer]:
        condition = attacked.condition
        if condition is None:
            return self.bench.look(sample, attacked.images)
        return answer(
            lambda images: model.decode(model.encode(images), condition),
            attacked.images,
            sample.masks,
            threshold=self.bench.threshold,
            metrics=self.bench.metrics,
            tolerance=self.bench.tolerance,
            keys=sample.keys,
        )

    def _missing(self, index: int) -> list[TextTrial]:
        return [
            trial
            for trial in self.trials
            if self._is_missing(index, trial.row)
            and trial.applies(self.sources[index], self.bench.seed, self.cases[index].key)
        ]

    def _is_missing(self, index: int, row: Trial) -> bool:
        return self._name(self.cases[index], row) not in self.done

    def _name(self, case: Case, row: Trial) -> Identity:
        return _promptless(self.bench.identify(case, row))


def _with_prompt(sample: Batch, prompt: str) -> Batch:
    (case,) = sample.cases
    return replace(sample, cases=(replace(case, prompt=prompt),))


def _identities(rows: pd.DataFrame) -> list[Identity]:
    columns = rows[list(Identity._fields)].itertuples(index=False, name=None)
    return [Identity(*values) for values in columns]


def _promptless(identity: Identity) -> Identity:
    return identity._replace(prompt="")
