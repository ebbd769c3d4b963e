"""How the prompt of a sample is chosen among its texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from palpate.randomness import choose

RANDOM = "random"
ALL = "all"
OVERRIDE = "override"
EMPTY_LEVEL = "p0"  # no text at all

Texts: TypeAlias = Mapping[str, Sequence[str]]  # by level, each in one or more phrasings


@dataclass(frozen=True)
class PromptPolicy:
    """How a run chooses prompts.

    The choice depends only on the seed and the key of the sample (and in training on the epoch), so
    that a sample keeps its prompt whatever else is in the run. If a level has several phrasings, a
    sample gets the same one under every policy.

    Attributes:
        prompt: A level such as ``p3``; ``random``, any level but the empty ``p0`` with equal
            probability; or ``all``, one sample per level.
        override: One text for every sample; ``prompt`` is then ignored.
        seed: Seed of the choice.
    """

    prompt: str = RANDOM
    override: str | None = None
    seed: int = 0

    def levels(self, prompts: Texts, key: str, *epoch: int) -> list[str]:
        """Levels that a sample is used with: one, or all of them if ``prompt`` is ``all``.

        >>> PromptPolicy("all").levels({"p0": [""], "p1": ["polyp"]}, "image-1")
        ['p0', 'p1']
        """
        if self.override is not None:
            return [OVERRIDE]
        if self.prompt == ALL:
            return list(prompts)
        if self.prompt == RANDOM:
            return [
                _pick([n for n in prompts if n != EMPTY_LEVEL], self.seed, "level", key, *epoch)
            ]
        return [self.prompt]

    def text(self, prompts: Texts, level: str, key: str, *epoch: int) -> str:
        """The text of a level; one of them if there are several phrasings."""
        if self.override is not None:
            return self.override
        return _pick(prompts[level], self.seed, "phrasing", key, level, *epoch)

    def lacks(self, prompts: Texts) -> bool:
        """Whether an entry has no text for this policy."""
        if self.override is not None or self.prompt == ALL:
            return False
        if self.prompt == RANDOM:
            return not set(prompts) - {EMPTY_LEVEL}
        return self.prompt not in prompts


def check_levels(policy: PromptPolicy, texts: Mapping[str, Texts], where: str) -> None:
    """Raise an error if entries have no text for a policy.

    Args:
        policy: How prompts are chosen.
        texts: Texts of every entry, by its key.
        where: Source of the texts, for the error.

    Raises:
        ValueError: Says how many entries lack a text, and which levels there are.
    """
    lacking = [key for key, prompts in texts.items() if policy.lacks(prompts)]
    if not lacking:
        return
    levels = ", ".join(dict.fromkeys(level for prompts in texts.values() for level in prompts))
    wanted = repr(policy.prompt)
    if policy.prompt == RANDOM:
        wanted = f"other than the empty {EMPTY_LEVEL!r}"
    raise ValueError(
        f"Expected prompt level {wanted} in {where}, but {len(lacking)} of {len(texts)} "
        f"entries lack it, such as {lacking[0]!r}. Levels there: {levels}. Choose one of these, "
        "'random' or 'all', or give an override text."
    )


def _pick(options: Sequence[str], seed: int, *purpose: str | int) -> str:
    return options[choose(len(options), seed, "prompt", *purpose)]
