"""Attacks on the text, alone or with the image, run on one sample and checked afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.attacks.text import Prompted, PromptSource, TextAttack, View, attack_text, joint
from palpate.data.sample import Batch
from palpate.evaluation.conditions import Trial, check, no_attack, plan
from palpate.evaluation.results.describe import describe
from palpate.evaluation.results.rows import CLEAN
from palpate.randomness import generator
from palpate.text.lexicon import hash_lexicon
from palpate.types import Attack, Images


@dataclass(frozen=True)
class Joint:
    """Image and text attacked in turns, see :func:`palpate.attacks.text.joint`.

    Attributes:
        image: Its epsilon bound: ``partial(pgd, epsilon=8 / 255)``.
        text: Chooses the worst of its texts.
        rounds: How often both take their turn.
        image_name: Name of the rows of the image attack alone; it gets their random numbers, so
            that no row of both together is weaker than that row.
    """

    image: Attack
    text: TextAttack
    rounds: int = 2
    image_name: str = ""


AnyTextAttack: TypeAlias = TextAttack | Joint


class Attacked(NamedTuple):
    """What an attack made of a sample."""

    images: Images  # one
    prompt: str
    condition: Float[Tensor, "1 d"] | None  # in place of the prompt, where that was attacked


@dataclass(frozen=True)
class TextTrial:
    """An attack under its name in the table; ``row`` has the norm and epsilon of its rows."""

    attack: AnyTextAttack
    row: Trial

    def applies(self, source: PromptSource, seed: int, key: str) -> bool:
        """Whether there is anything to try, as far as can be said without the model."""
        attack = self.attack.text if isinstance(self.attack, Joint) else self.attack
        return attack.needs_model or len(attack.propose(None, source, _of_text(seed, key))) > 0

    def run(
        self,
        model: Prompted,
        sample: Batch,
        source: PromptSource,
        *,
        threshold: float,
        at_once: int,
        seed: int,
    ) -> Attacked | None:
        """Attack one sample; None where the attack does not apply to its text.

        Raises:
            ValueError: If the result is not within the norm and epsilon of the trial.
        """
        images, masks, (key,) = sample.images.clone(), sample.masks.clone(), sample.keys
        if isinstance(self.attack, Joint):
            pair = joint(
                model, images, masks, source,
                image_attack=self.attack.image, text_attack=self.attack.text,
                rounds=self.attack.rounds, threshold=threshold, generator=_of_text(seed, key),
                image_generator=generator(seed, key, self.attack.image_name or self.row.name),
            )  # fmt: skip
            if pair is None:
                return None
            pressed = check(pair.images, sample.images, self.row, sample.keys)
            return Attacked(pressed, pair.prompt, None)
        view = View(model, images, masks, threshold=threshold, at_once=at_once)
        finding = attack_text(self.attack, view, source, generator=_of_text(seed, key))
        if finding is None:
            return None
        if finding.condition is not None:
            _check_condition(model.read([source.prompt]), finding.condition, self.row)
        return Attacked(sample.images, finding.prompt, finding.condition)

    def describe(self) -> str:
        """The attack with all its settings and words, for a fingerprint."""
        if isinstance(self.attack, Joint):
            image, text = describe(self.attack.image), _describe(self.attack.text)
            return f"joint({image}, {text}, rounds={self.attack.rounds})"
        return _describe(self.attack)


def plan_texts(attacks: Mapping[str, AnyTextAttack]) -> list[TextTrial]:
    """One trial per attack, in the order given.

    Raises:
        ValueError: If a name is taken, or the image attack of a joint one has no strength.
    """
    if CLEAN in attacks:
        raise ValueError(f"Expected attacks with names of their own, got one named {CLEAN!r}.")
    trials = []
    for name, attack in attacks.items():
        if isinstance(attack, Joint):
            (_, row) = plan({name: attack.image}, None)
        else:
            row = Trial(name, no_attack, attack.norm, attack.epsilon)
        trials.append(TextTrial(attack, row))
    return trials


def _of_text(seed: int, key: str) -> torch.Generator:
    # Without a name, so that an attack draws the same texts alone and together with the image.
    return generator(seed, key, "text")


def _describe(attack: TextAttack) -> str:
    # Whether candidates come from the lexicon cannot be seen from outside.
    return f"{attack.pick} of {describe(attack.candidates)}, lexicon {hash_lexicon()}"


def _check_condition(
    origin: Float[Tensor, "1 d"], condition: Float[Tensor, "1 d"], row: Trial
) -> None:
    length = origin.norm()
    if row.norm == "cosine":
        distance = 1 - torch.cosine_similarity(origin.double(), condition.double()).item()
    else:
        distance = ((condition - origin).norm() / length).item()
    if not distance <= row.epsilon * (1 + 1e-4) + 1e-5:
        raise ValueError(
            f"Attack {row.name!r} (epsilon {row.epsilon:.6g}, {row.norm}) broke its promise: the "
            f"condition it returned is {distance:.6g} away. Correct the attack."
        )
