"""Choice of the prompt of a sample among its texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from palpate.randomness import choose

RANDOM = "random"
ALL = "all"
OVERRIDE = "override"  # level in result tables if one text replaces all prompts
EMPTY_LEVEL = "p0"  # the empty prompt

Texts: TypeAlias = Mapping[str, Sequence[str]]  # by level, each in one or more phrasings


@dataclass(frozen=True)
class PromptPolicy:
    """Rule by which a run chooses prompts.

    The choice depends only on the seed and the key of the sample (and in training on the epoch), so
    that a sample keeps its prompt in a subset or another order. If a level has several phrasings,
    a sample gets the same one under every policy with the same seed.

    Attributes:
        prompt: A level such as ``p3``; ``random`` for any level except the empty ``p0``, with equal
            probability; or ``all`` for one sample per level.
        override: One text for every sample; ``prompt`` is then ignored.
        seed: Seed of the choice.
    """

    prompt: str = RANDOM
    override: str | None = None
    seed: int = 0

    def levels(self, prompts: Texts, key: str, *epoch: int) -> list[str]:
        """Levels at which an entry is used: one, or every level if ``prompt`` is ``all``.

        Args:
            prompts: Texts of the entry by level.
            key: Key of the entry.
            *epoch: Training epoch; none in evaluation.

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
        """Text of a level; one of its phrasings at random if there are several.

        Args:
            prompts: Texts of the entry by level.
            level: A level as returned by :meth:`levels`.
            key: Key of the entry.
            *epoch: Training epoch; none in evaluation.
        """
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
        policy: Rule by which prompts are chosen.
        texts: Texts by level of every entry, by its key.
        where: Source of the texts, for the error.

    Raises:
        ValueError: If entries lack a text; lists the levels that exist.
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
