"""Text attacks: a function that proposes candidates, and the choice of one of them."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.attacks.text.source import PromptSource
from palpate.attacks.text.view import Candidates, View

Kind: TypeAlias = Literal["benign", "adversarial"]
Pick: TypeAlias = Literal["worst", "best"]


@dataclass(frozen=True)
class TextAttack:
    """A text attack: proposes candidates for a prompt and selects one for each image.

    Attributes:
        candidates: Function that returns texts, or conditions for the decoder. It is called with
            those of ``view``, ``source`` and ``generator`` that it has as parameters.
        kind: ``"benign"``: every candidate still describes the object in the mask, so the DSC
            should not change. ``"adversarial"``: it describes something else or nothing, or is
            meaningless. If it describes another object in the image, the DSC should fall.
        pick: ``"worst"`` selects the candidate with the lowest DSC, ``"best"`` that with the
            highest, which is the upper end of a benign set.
        norm: Norm in which candidates are bounded; ``"text"`` if they are not bounded in a norm.
        epsilon: Radius in that norm; 0 if there is none.
    """

    candidates: Callable[..., Candidates]
    kind: Kind
    pick: Pick = "worst"
    norm: str = "text"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("benign", "adversarial") or self.pick not in ("worst", "best"):
            raise ValueError(
                "Expected kind 'benign' or 'adversarial' and pick 'worst' or 'best', got "
                f"{self.kind!r} and {self.pick!r}."
            )

    @property
    def needs_model(self) -> bool:
        """Whether the candidates depend on model and image."""
        return "view" in inspect.signature(self.candidates).parameters

    def propose(
        self, view: View | None, source: PromptSource, generator: torch.Generator
    ) -> Candidates:
        """Return the candidates; none if the attack does not apply to the text.

        Args:
            view: Image and model; None for an attack that needs neither.
            source: The texts to start from.
            generator: Generator for random draws, on the CPU.
        """
        offered: dict[str, Any] = {"view": view, "source": source, "generator": generator}
        names = inspect.signature(self.candidates).parameters
        return self.candidates(**{k: v for k, v in offered.items() if k in names})


class AttackedText(NamedTuple):
    """The selected candidate of an image, with its DSC and loss."""

    prompt: str  # the original prompt if the condition was attacked
    condition: Float[Tensor, "1 d"] | None  # only for attacks on the embedding
    dsc: float
    loss: float


def attack_text(
    attack: TextAttack, view: View, source: PromptSource, *, generator: torch.Generator
) -> AttackedText | None:
    """Attack the prompt of an image.

    All candidates are scored on the image; texts are tokenised for this as usual.

    Args:
        attack: The attack.
        view: Image, mask and model.
        source: The texts to start from.
        generator: Generator for random draws, on the CPU.

    Returns:
        The chosen candidate; None if the attack does not apply, for example if the prompt names no
        colour to change.
    """
    candidates = attack.propose(view, source, generator)
    if not len(candidates):
        return None
    harm = view.harm(candidates)
    chosen = harm.worst() if attack.pick == "worst" else harm.best()
    dsc, loss = float(harm.dsc[chosen]), float(harm.loss[chosen])
    if isinstance(candidates, Tensor):
        return AttackedText(source.prompt, candidates[chosen : chosen + 1], dsc, loss)
    return AttackedText(candidates[chosen], None, dsc, loss)
