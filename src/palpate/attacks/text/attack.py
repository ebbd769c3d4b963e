"""What an attack on the text is: a way to find candidates, and what they ought to do."""

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
    """Candidates for a prompt, of which an image gets the one that does it most harm.

    Attributes:
        candidates: Gives texts, or conditions for the decoder. Of ``view``, ``source`` and
            ``generator`` it is given what it names; what needs no view does not look at the model.
        kind: ``"benign"``: every candidate still means what the mask shows, so that a good model
            keeps its DSC. ``"adversarial"``: it means something else, nothing, or is gibberish;
            where another thing is meant that the image holds, a good model's DSC must fall.
        pick: Which candidate an image gets, ``"best"`` for the other end of a benign set.
        norm: Of the space that candidates are confined to; ``"text"`` where nothing but the
            making of candidates confines them.
        epsilon: Radius there, in the units of that norm.
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
    def looks(self) -> bool:
        """Whether candidates depend on model and image."""
        return "view" in inspect.signature(self.candidates).parameters

    def propose(
        self, view: View | None, source: PromptSource, generator: torch.Generator
    ) -> Candidates:
        """The candidates, none where the attack does not apply to a text.

        Args:
            view: None for an attack that does not look.
            source: The texts to start from.
            generator: For whatever is random.
        """
        offered: dict[str, Any] = {"view": view, "source": source, "generator": generator}
        names = inspect.signature(self.candidates).parameters
        return self.candidates(**{k: v for k, v in offered.items() if k in names})


class ChosenText(NamedTuple):
    """The candidate an image got, and what it did to it."""

    prompt: str  # the original's where it is the condition that was attacked
    condition: Float[Tensor, "1 d"] | None  # of an attack on the embedding
    dsc: float
    loss: float


def press_text(
    attack: TextAttack, view: View, source: PromptSource, *, generator: torch.Generator
) -> ChosenText | None:
    """Attack the text that goes with an image.

    All candidates are measured on the image, as texts that are read from their first letter.

    Returns:
        None where the attack does not apply: no colour to change, no other image to borrow from.
    """
    candidates = attack.propose(view, source, generator)
    if not len(candidates):
        return None
    harm = view.harm(candidates)
    chosen = harm.worst() if attack.pick == "worst" else harm.best()
    dsc, loss = float(harm.dsc[chosen]), float(harm.loss[chosen])
    if isinstance(candidates, Tensor):
        return ChosenText(source.prompt, candidates[chosen : chosen + 1], dsc, loss)
    return ChosenText(candidates[chosen], None, dsc, loss)
