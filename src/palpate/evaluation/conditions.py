"""Conditions: the ways in which an evaluation changes a sample before the model predicts.

Every row of an evaluation belongs to one sample under one condition: the clean image, an attack on
the image at one radius (this module), an attack on the text
(:mod:`palpate.evaluation.text.conditions`), or MedIS with one target
(:mod:`palpate.evaluation.medis.condition`). The runner uses conditions only through the interface
below. To add a kind, subclass :class:`Condition` and create it in
:func:`palpate.evaluation.resolve.conditions_of`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from palpate.data.sample import Batch, Case
from palpate.evaluation.image_attacks import UNTOUCHED, AttackAtRadius
from palpate.evaluation.image_scores import Answer
from palpate.evaluation.results.describe import describe
from palpate.evaluation.results.rows import Identity
from palpate.evaluation.scoring import Result, Scorer


class Condition(ABC):
    """One condition of an evaluation.

    Attributes:
        keeps_examples: Whether images under this condition are saved as examples for figures.
    """

    keeps_examples = False

    @abstractmethod
    def describe(self) -> Mapping[str, str]:
        """Entries of the fingerprint: all settings that change a result, by name."""

    @abstractmethod
    def identities(self, case: Case) -> Sequence[Identity]:
        """Identities of the rows of a sample, known before the condition is run.

        If the condition changes the prompt, ``prompt`` is None in the identities.
        """

    def applies(self, case: Case) -> bool:
        """Whether a sample can have rows under this condition, judged without running the model."""
        del case
        return True

    def at_once(self, batch_size: int) -> int:
        """Number of samples to run together, given that ``batch_size`` images fit into memory."""
        return batch_size

    @abstractmethod
    def run(self, batch: Batch, clean: Sequence[Answer]) -> list[Result]:
        """Run the condition and score the outcome.

        Args:
            batch: At most :meth:`at_once` samples; all images have the same size.
            clean: Scores of the clean images, one per sample.

        Returns:
            The results of all samples; a sample to which the condition does not apply has none.
        """


@dataclass(frozen=True)
class ImageCondition(Condition):
    """An attack on images at one radius; also the clean images themselves."""

    scorer: Scorer
    attack: AttackAtRadius
    keeps_examples = True

    def __str__(self) -> str:
        return str(self.attack)

    def describe(self) -> Mapping[str, str]:
        """The attack with all its settings; nothing for the clean images."""
        if self.attack == UNTOUCHED:
            return {}
        return {f"attack.{self.attack.name}": describe(self.attack.attack)}

    def identities(self, case: Case) -> Sequence[Identity]:
        """One row per sample."""
        return [self.scorer.identify(case, self.attack)]

    def run(self, batch: Batch, clean: Sequence[Answer]) -> list[Result]:
        """Attack the whole batch at once."""
        return self.scorer.attack(batch, clean, self.attack)
