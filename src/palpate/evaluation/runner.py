"""The loop of every evaluation: which rows are missing, batch by batch, condition by condition.

Rows reach the store as soon as they are computed, so a process may be killed at any moment. The
next call computes only the rows that are missing, and it loads only samples that lack some.
"""

from collections.abc import Callable, Iterable, Sequence
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

# Told how many rows there are, how many there will be, and which condition was just run.
Report: TypeAlias = Callable[[int, int, str], None]


class Runner:
    """Computes the missing rows of an evaluation.

    Args:
        scorer: The model and its settings.
        conditions: What is done to every sample, in this order.
        cases: The samples.
        store: Holds the rows that exist, and gets the new ones.
        examples: Gets the images of a few samples.

    Raises:
        ValueError: If rows of two samples could not be told apart.
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
            data: The samples that ``cases`` are about.
            batch_size: Images in a pass, at most; halved by itself where memory runs out.
            device: Where the model is.
            workers: Threads that read the next images meanwhile.
            report_progress: Called after each batch and condition.
        """
        # The windows do not depend on what is missing, so that a resumed run stacks the same
        # images as an uninterrupted one and even rounds alike.
        lacking = [
            [i for i in window if any(self._lacks(self.cases[i], c) for c in self.conditions)]
            for window in windows(len(self.cases), batch_size)
        ]
        sizes = [condition.at_once(batch_size) for condition in self.conditions]
        # What did not fit for one condition is not tried again for another of the same size.
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

    def select(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of this evaluation among all rows of a store."""
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
        """Do not wait for rows that there will never be."""
        for case, condition in pairs:
            # Only where rows are missing: this may create every candidate text.
            if self._lacks(case, condition) and not condition.applies(case):
                self.total -= len(condition.identities(case))
                self._done(condition, [case])

    def _lacks(self, case: Case, condition: Condition) -> bool:
        return not self.missing.isdisjoint(condition.identities(case))

    def _done(self, condition: Condition, cases: Iterable[Case]) -> None:
        # Also the rows that did not come: the condition did not apply after all.
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
        # Examples first: where there is a row, a later call takes its example to be there, too.
        for result in results:
            if self.examples and result.row.key in shown:
                self.examples.save(result.row, result.image, result.mask, result.prediction)
        self.store.add([result.row for result in results])
