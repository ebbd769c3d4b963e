"""The evaluation loop: computes the missing rows, batch by batch and condition by condition.

Rows are passed to the store as soon as they are computed, so a process may be killed at any
moment. The next call computes only the missing rows, and loads only the samples that they need.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import pandas as pd
import torch

from palpate.data import Samples
from palpate.data.sample import Batch, Case
from palpate.evaluation.batches import load, select, windows
from palpate.evaluation.conditions import Condition
from palpate.evaluation.image_scores import Answer
from palpate.evaluation.results.examples import ExampleStore
from palpate.evaluation.results.rows import Identity
from palpate.evaluation.results.store import RowStore
from palpate.evaluation.scoring import Result, Scorer
from palpate.oom import Portions

# Called with the number of finished rows, the number of all rows, and the condition just run.
Report: TypeAlias = Callable[[int, int, str], None]


@dataclass
class Recheck:
    """Asks an evaluation to compute some of its rows only, to compare them with stored ones.

    Attributes:
        identities: The rows to compute; others are computed where they shared a batch with one.
        made: Set by the evaluation: all rows that it would make. Where an attack changes the
            prompt, the prompt is None.
    """

    identities: frozenset[Identity]
    made: set[Identity] = field(default_factory=set)


class Runner:
    """Computes the missing rows of an evaluation.

    Args:
        scorer: The model and its settings.
        conditions: The conditions, in the order in which they are run on every batch.
        cases: The samples to evaluate.
        store: Store with the existing rows; receives the new ones.
        examples: Store for the images of a few samples.

    Raises:
        ValueError: If two rows would have the same identity.
    """

    def __init__(
        self,
        scorer: Scorer,
        conditions: Sequence[Condition],
        cases: Sequence[Case],
        store: RowStore,
        examples: ExampleStore | None = None,
    ) -> None:
        self.scorer, self.conditions, self.cases = scorer, conditions, cases
        self.store, self.examples = store, examples
        self.shown = examples.choose(cases) if examples else frozenset()
        pairs = [(case, condition) for case in cases for condition in conditions]
        names = [name for case, condition in pairs for name in condition.identities(case)]
        self.wanted = set(names)
        if len(self.wanted) < len(names):
            raise ValueError(
                "Expected samples that differ in key or prompt level, got two that do not; their "
                "rows could not be told apart once their prompts are changed."
            )
        self.missing = set(self._find_missing(pairs))
        self.total = len(self.wanted)
        self._forget_inapplicable(pairs)

    def run(
        self,
        data: Samples,
        *,
        batch_size: int,
        device: torch.device,
        workers: int,
        report_progress: Report,
    ) -> None:
        """Compute all missing rows and write them to the store.

        Args:
            data: The samples that ``cases`` describe.
            batch_size: Maximum number of images per forward pass; halved automatically if GPU
                memory runs out.
            device: Device of the model.
            workers: Threads that load the next images in the background.
            report_progress: Called after each batch and condition.
        """
        # The windows do not depend on which rows are missing: a resumed run then stacks the same
        # images as an uninterrupted one, and rounding errors are the same.
        lacking = [
            [i for i in window if any(self._lacks(self.cases[i], c) for c in self.conditions)]
            for window in windows(len(self.cases), batch_size)
        ]
        sizes = [condition.at_once(batch_size) for condition in self.conditions]
        # Shared by conditions of the same size: a size that ran out of memory is not tried again.
        portions = {size: Portions(size) for size in (batch_size, *sizes)}
        for batch in load(data, self.cases, lacking, device, workers):
            everything = range(len(batch.cases))
            clean = portions[batch_size].run(partial(self._predict_clean, batch), everything)
            for condition, size in zip(self.conditions, sizes, strict=True):
                places = [i for i in everything if self._lacks(batch.cases[i], condition)]
                for some in (places[i : i + size] for i in range(0, len(places), size)):
                    work = partial(self._run, batch, clean, condition)
                    results = portions[size].run(work, some)
                    self._keep(results, condition)
                    self._done(condition, [batch.cases[i] for i in some])
                    report_progress(self.total - len(self.missing), self.total, str(condition))
        self.store.flush()

    def restrict(self, recheck: Recheck, batch_size: int) -> None:
        """Compute no other rows than these, and those of the batches that they were made in.

        Whole batches give the same rounding errors as the evaluation that made the rows.
        """
        recheck.made |= self.wanted
        clean, *_ = self.conditions
        kept: set[Identity] = set()
        for window in windows(len(self.cases), batch_size):
            cases = [self.cases[i] for i in window]
            for condition in self.conditions:
                names = {name for case in cases for name in condition.identities(case)}
                if asked := names & recheck.identities:
                    kept |= asked if condition.at_once(batch_size) == 1 else names
                    kept |= {name for case in cases for name in clean.identities(case)}
        self.missing &= kept
        self.total = len(self.missing)

    def select(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Select the rows of this evaluation among all rows of a store."""
        found = rows[list(Identity._fields)].itertuples(index=False, name=None)
        identities = (Identity(*values) for values in found)
        kept = [i in self.wanted or i._replace(prompt=None) in self.wanted for i in identities]
        return rows[kept].reset_index(drop=True)

    def _find_missing(self, pairs: Iterable[tuple[Case, Condition]]) -> Iterable[Identity]:
        for case, condition in pairs:
            for identity in condition.identities(case):
                shown = condition.keeps_examples and identity.key in self.shown
                if not self.store.done(identity) or (
                    shown and self.examples and not self.examples.has(identity)
                ):
                    yield identity

    def _forget_inapplicable(self, pairs: Iterable[tuple[Case, Condition]]) -> None:
        """Drop the rows of conditions that do not apply to a sample from the missing ones."""
        for case, condition in pairs:
            # Ask only if rows are missing: applies() may have to create every candidate text.
            if self._lacks(case, condition) and not condition.applies(case):
                self.total -= len(condition.identities(case))
                self._done(condition, [case])

    def _lacks(self, case: Case, condition: Condition) -> bool:
        return not self.missing.isdisjoint(condition.identities(case))

    def _done(self, condition: Condition, cases: Iterable[Case]) -> None:
        # Includes rows that were not produced, because the condition turned out not to apply.
        for case in cases:
            self.missing.difference_update(condition.identities(case))

    def _predict_clean(self, batch: Batch, places: list[int]) -> list[Answer]:
        return self.scorer.predict_clean(select(batch, places))

    def _run(
        self, batch: Batch, clean: Sequence[Answer], condition: Condition, places: list[int]
    ) -> list[Result]:
        return condition.run(select(batch, places), [clean[i] for i in places])

    def _keep(self, results: Sequence[Result], condition: Condition) -> None:
        shown = self.shown if condition.keeps_examples else frozenset()
        # Save examples before rows: a process killed in between then computes both again.
        for result in results:
            if self.examples and result.row.key in shown:
                self.examples.save(result.row, result.image, result.mask, result.prediction)
        self.store.add([result.row for result in results])
