"""What an evaluation does to its samples before the model answers.

Every row of an evaluation is of one sample under one condition: the clean image, an attack on the
image at one radius (here), an attack on the text (:mod:`palpate.evaluation.text.conditions`), or
MedIS towards one target (:mod:`palpate.evaluation.medis.condition`). The runner knows conditions
only by the interface below. To add another kind, subclass :class:`Condition` and say in
:func:`palpate.evaluation.resolve.conditions_of` for which of the user's attacks it stands.
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
        keeps_examples: Whether images under this condition are worth keeping for the figures.
    """

    keeps_examples = False

    @abstractmethod
    def describe(self) -> Mapping[str, str]:
        """Entries of the fingerprint: all settings that change a number, by name."""

    @abstractmethod
    def identities(self, case: Case) -> Sequence[Identity]:
        """Identities of the rows of a sample, known before the condition is run.

        Where the condition changes the prompt, the identities have None in its place.
        """

    def applies(self, case: Case) -> bool:
        """Whether a sample has rows under this condition, as far as is known without the model."""
        del case
        return True

    def at_once(self, batch_size: int) -> int:
        """How many samples are run together, where ``batch_size`` images fit into memory."""
        return batch_size

    @abstractmethod
    def run(self, batch: Batch, clean: Sequence[Answer]) -> list[Result]:
        """Run the condition and score what comes of it.

        Args:
            batch: At most :meth:`at_once` samples of one size.
            clean: Scores of the clean images, one per sample.

        Returns:
            The rows of each sample; fewer where the condition turns out not to apply to one.
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
