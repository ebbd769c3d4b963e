"""Attacks on the text of a prompted model, alone or together with its image, as conditions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.attacks.text import (
    Prompted,
    PromptSource,
    TextAttack,
    View,
    Whole,
    attack_text,
    joint,
)
from palpate.data.sample import Batch, Case
from palpate.evaluation.batches import select
from palpate.evaluation.conditions import Condition
from palpate.evaluation.cost import Cost, Tally, metered_text_model
from palpate.evaluation.image_attacks import AttackAtRadius, at_radii, check, no_attack
from palpate.evaluation.image_scores import Answer, answer
from palpate.evaluation.results.describe import describe
from palpate.evaluation.results.rows import Identity, Kind
from palpate.evaluation.scoring import Result, Scorer, naming
from palpate.prompting import without_ignored
from palpate.randomness import generator
from palpate.text.lexicon import hash_lexicon
from palpate.types import Attack, Images


@dataclass(frozen=True)
class Joint:
    """An attack on image and text in alternation; see :func:`palpate.attacks.text.joint`.

    Attributes:
        image: Attack on the image with its epsilon bound: ``partial(pgd, epsilon=8 / 255)``.
        text: Attack on the text that picks the worst of its texts.
        rounds: Number of rounds; each runs both attacks.
        image_name: Name of the image attack in the rows, if it is also run alone. Both then use
            the same random numbers, so that the joint attack is never weaker.
    """

    image: Attack
    text: TextAttack
    rounds: int = 2
    image_name: str = ""


AnyTextAttack: TypeAlias = TextAttack | Joint


class Attacked(NamedTuple):
    """The image and text that an attack returned for one sample."""

    images: Images  # a batch of one image
    prompt: str
    condition: Float[Tensor, "1 d"] | None  # embedding used instead of the prompt, if attacked


@dataclass(frozen=True)
class TextCondition(Condition):
    """An attack on the text, or on image and text together.

    In its rows ``prompt`` is the attacked text, ``prompt_level`` the level of the original text,
    and ``dsc_clean`` the score with the original text. ``norm`` is ``"text"`` and ``epsilon`` 0,
    with two exceptions: attacks on the embedding keep the original prompt and have a norm and
    radius of their own, and joint attacks have the norm and radius of the attack on the image.
    ``forwards`` counts decoded texts and ``backwards`` gradients through the decoder. A sample to
    which the attack does not apply has no row.

    Attributes:
        scorer: The model and its settings.
        row: Name, norm and radius of the rows.
        attack: The attack.
        model: The scorer's model, with separate encoders for image and text.
        sources: For each sample, the texts that the attack may use.
        described_sources: Hash of these texts, for the fingerprint.
        texts_at_once: Maximum number of texts decoded together.
    """

    scorer: Scorer
    row: AttackAtRadius
    attack: AnyTextAttack
    model: Prompted
    sources: Mapping[Case, PromptSource]
    described_sources: str
    texts_at_once: int

    def __str__(self) -> str:
        return self.row.name

    def describe(self) -> Mapping[str, str]:
        """The attack with all its settings, its lexicon and the texts of the data."""
        attack = describe_text_attack(self.attack)
        return {f"attack.{self.row.name}": f"{attack} with {self.described_sources}"}

    def identities(self, case: Case) -> Sequence[Identity]:
        """One row per sample, whatever its prompt will be."""
        return [self.scorer.identify(case, self.row)._replace(prompt=None)]

    def applies(self, case: Case) -> bool:
        """Whether there are candidate texts; attacks that need the model may still find none."""
        attack = self.attack.text if isinstance(self.attack, Joint) else self.attack
        source = self.sources[case]
        if attack.needs_model:
            return True
        return len(attack.propose(None, source, self._generator(case.key))) > 0

    def at_once(self, batch_size: int) -> int:
        """One sample: candidates of a sample are decoded together, and samples do not mix."""
        del batch_size
        return 1

    def run(self, batch: Batch, clean: Sequence[Answer]) -> list[Result]:
        """Attack the samples one by one."""
        samples = (select(batch, [place]) for place in range(len(batch.cases)))
        each = (self._run(sample, [before]) for sample, before in zip(samples, clean, strict=True))
        return [result for results in each for result in results]

    def _run(self, sample: Batch, clean: Sequence[Answer]) -> list[Result]:
        tally = Tally()
        with tally, naming(self.row, sample):
            model = metered_text_model(self._model_for(sample), tally, sample.ignored)
            attacked = self._attack(model, sample)
        if attacked is None:
            return []
        return self._record(sample, clean, attacked, tally.per_image(1))

    def _model_for(self, sample: Batch) -> Prompted:
        if isinstance(self.model, Whole):  # called as a whole, with the box of the sample
            return Whole(self.model.model, sample.boxes)
        return self.model

    def _attack(self, model: Prompted, sample: Batch) -> Attacked | None:
        """Attack one sample; None where the attack does not apply to its text.

        Raises:
            ValueError: If the result is not within norm and radius.
        """
        images, masks, (key,) = sample.images.clone(), sample.masks.clone(), sample.keys
        (case,), threshold = sample.cases, self.scorer.threshold
        source, attack = self.sources[case], self.attack
        if isinstance(attack, Joint):
            pair = joint(
                model, images, masks, source,
                image_attack=attack.image, text_attack=attack.text, rounds=attack.rounds,
                threshold=threshold, generator=self._generator(key),
                image_generator=generator(
                    self.scorer.seed, key, attack.image_name or self.row.name
                ),
            )  # fmt: skip
            if pair is None:
                return None
            attacked = check(pair.images, sample.images, self.row, sample.keys)
            return Attacked(attacked, pair.prompt, None)
        view = View(model, images, masks, threshold=threshold, at_once=self.texts_at_once)
        finding = attack_text(attack, view, source, generator=self._generator(key))
        if finding is None:
            return None
        if finding.condition is not None:
            _check_condition(model.read([source.prompt]), finding.condition, self.row)
        return Attacked(sample.images, finding.prompt, finding.condition)

    def _record(
        self, sample: Batch, clean: Sequence[Answer], attacked: Attacked, cost: Cost
    ) -> list[Result]:
        (case,) = sample.cases
        changed = replace(sample, cases=(replace(case, prompt=attacked.prompt),))
        kind: Kind = "joint" if isinstance(self.attack, Joint) else "text"
        answers = self._answers(changed, attacked)
        return self.scorer.record(changed, self.row, clean, answers, attacked.images, cost, kind)

    def _answers(self, sample: Batch, attacked: Attacked) -> list[Answer]:
        condition = attacked.condition
        if condition is None:
            # Run the model again, so that a row does not depend on what the attack measured.
            return self.scorer.predict(sample, attacked.images)
        return answer(
            lambda images: without_ignored(
                self.model.decode(self.model.encode(images), condition), sample.ignored
            ),
            attacked.images,
            sample.masks,
            metrics=self.scorer.metrics,
            threshold=self.scorer.threshold,
            tolerance=self.scorer.tolerance,
            keys=sample.keys,
            ignored=sample.ignored,
        )

    def _generator(self, key: str) -> torch.Generator:
        # Without the name of the attack, so that it draws the same texts alone and jointly.
        return generator(self.scorer.seed, key, "text")


def row_of(name: str, attack: AnyTextAttack) -> AttackAtRadius:
    """Return name, norm and radius for the rows of an attack on the text.

    Raises:
        ValueError: If the image attack of a joint attack has no radius.
    """
    if isinstance(attack, Joint):
        (_, row) = at_radii({name: attack.image}, None)
        return row
    return AttackAtRadius(name, no_attack, attack.norm, attack.epsilon)


def describe_text_attack(attack: AnyTextAttack) -> str:
    """Describe an attack on the text with all its settings and the hash of the lexicon."""
    if isinstance(attack, Joint):
        text = describe_text_attack(attack.text)
        return f"joint({describe(attack.image)}, {text}, rounds={attack.rounds})"
    # Always include the lexicon: whether candidates come from it cannot be seen from outside.
    return f"{attack.pick} of {describe(attack.candidates)}, lexicon {hash_lexicon()}"


def _check_condition(
    origin: Float[Tensor, "1 d"], condition: Float[Tensor, "1 d"], row: AttackAtRadius
) -> None:
    length = origin.norm()
    if row.norm == "cosine":
        distance = 1 - torch.cosine_similarity(origin.double(), condition.double()).item()
    else:
        distance = ((condition - origin).norm() / length).item()
    if not distance <= row.epsilon * (1 + 1e-4) + 1e-5:
        raise ValueError(
            f"Attack {row.name!r} (epsilon {row.epsilon:.6g}, {row.norm}) returned an invalid "
            f"condition: it is {distance:.6g} away from that of the prompt. Correct the attack."
        )
