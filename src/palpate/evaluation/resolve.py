"""Resolves the attacks that a user names into the conditions of an evaluation."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from palpate.attacks import ATTACKS
from palpate.attacks.text import TEXT_ATTACKS, Prompted, PromptSource, TextAttack, Whole
from palpate.data import Samples
from palpate.data.sample import Case
from palpate.errors import did_you_mean
from palpate.evaluation.batches import BATCH_SIZE
from palpate.evaluation.conditions import Condition, ImageCondition
from palpate.evaluation.image_attacks import UNTOUCHED, at_radii
from palpate.evaluation.medis.condition import Medis
from palpate.evaluation.protocol.protocol import Protocol
from palpate.evaluation.results.rows import CLEAN
from palpate.evaluation.scoring import Scorer
from palpate.evaluation.text.conditions import AnyTextAttack, Joint, TextCondition, row_of
from palpate.evaluation.text.sources import hash_sources, text_sources
from palpate.types import Attack

AnyAttack: TypeAlias = Attack | AnyTextAttack | Medis
Attacks: TypeAlias = Mapping[str, AnyAttack | str] | Iterable[Attack | str]

_TEXTS_AT_ONCE = 32  # texts decoded together for one encoded image; bounds the decoder's memory


def find_attacks(wanted: Attacks) -> dict[str, AnyAttack]:
    """Look up attacks by name.

    Args:
        wanted: A mapping of names in the rows to attacks, or a list of names and functions; a
            function has its own name in the rows. A string stands for the attack of that name in
            :data:`palpate.attacks.ATTACKS` or :data:`palpate.attacks.text.TEXT_ATTACKS`.

    Returns:
        The attacks by their names in the rows, in the order given.

    Raises:
        ValueError: If there is no such attack, a name occurs twice, or a name is reserved.
    """
    if isinstance(wanted, str):
        raise ValueError(f"Expected a list of attacks, got {wanted!r}; write [{wanted!r}].")
    named = wanted if isinstance(wanted, Mapping) else _by_name(wanted)
    if CLEAN in named:
        raise ValueError(
            f"Expected attacks with other names than {CLEAN!r}, which is that of the clean rows, "
            f"got one named {CLEAN!r}. Rename it."
        )
    return {name: _find(name, attack) for name, attack in named.items()}


def _by_name(listed: Iterable[Attack | str]) -> dict[str, Attack | str]:
    """Attacks of a list by their names.

    Raises:
        ValueError: If two have the same name, or one has none.
    """
    attacks = list(listed)
    names = [_name_of(attack) for attack in attacks]
    if len(set(names)) < len(names):
        raise ValueError(
            f"Expected every attack once, got {', '.join(names)}. Two of one name need a "
            "dictionary, {NAME: attack, ...}."
        )
    return dict(zip(names, attacks, strict=True))


def conditions_of(
    attacks: Mapping[str, AnyAttack],
    scorer: Scorer,
    data: Samples,
    cases: Sequence[Case],
    *,
    epsilons: Sequence[float] | None = None,
    limit: int | None = None,
    texts_at_once: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> list[Condition]:
    """Create the conditions of an evaluation: the clean images, then the attacks in order.

    Args:
        attacks: Attacks by their names in the rows.
        scorer: The model and its settings.
        data: The samples.
        cases: The cases of all samples; attacks on the text may use the texts of any of them.
        epsilons: Radii for attacks on images without a bound ``epsilon``.
        limit: Evaluate only the first ``limit`` samples; MedIS takes target masks from these only.
        texts_at_once: Texts decoded together. None: 32, or ``batch_size`` for a model that must
            encode the image again for every text.
        batch_size: Images per forward pass.

    Raises:
        ValueError: If an attack has no radius or an invalid option, or the protocol does not
            support it.
    """
    _refuse_other_protocols(attacks, scorer.protocol)
    on_images = {n: a for n, a in attacks.items() if not isinstance(a, TextAttack | Joint | Medis)}
    crossed = at_radii(on_images, epsilons, scorer.tau)
    found: list[Condition] = [ImageCondition(scorer, UNTOUCHED)]
    on_texts = _TextConditions(scorer, data, cases, texts_at_once, batch_size)
    for name, attack in attacks.items():
        if isinstance(attack, Medis):
            found += attack.conditions(name, scorer, data, cases[:limit])
        elif isinstance(attack, TextAttack | Joint):
            found.append(on_texts.of(name, attack))
        else:
            found += [ImageCondition(scorer, each) for each in crossed if each.name == name]
    return found


class _TextConditions:
    """Creates conditions for attacks on the text.

    The texts of the data are read only when the first condition is created.
    """

    def __init__(
        self,
        scorer: Scorer,
        data: Samples,
        cases: Sequence[Case],
        at_once: int | None,
        batch_size: int,
    ) -> None:
        self.scorer, self.data, self.cases = scorer, data, cases
        model = scorer.model
        self.model = model if isinstance(model, Prompted) else Whole(model)
        is_whole = isinstance(self.model, Whole)
        self.at_once = at_once or (batch_size if is_whole else _TEXTS_AT_ONCE)
        self._told: tuple[dict[Case, PromptSource], str] | None = None

    def of(self, name: str, attack: AnyTextAttack) -> TextCondition:
        if self._told is None:
            sources = text_sources(self.data, self.cases)
            by_case = dict(zip(self.cases, sources, strict=True))
            self._told = by_case, f"texts {hash_sources(sources)}"
        row = row_of(name, attack)
        return TextCondition(self.scorer, row, attack, self.model, *self._told, self.at_once)


def _name_of(attack: Attack | str) -> str:
    """Name in the rows of an attack in a list: its own, for ``partial`` that of the function."""
    if isinstance(attack, str):
        return attack
    name = getattr(attack.func if isinstance(attack, partial) else attack, "__name__", "")
    if not name or name == "<lambda>":
        raise ValueError(
            f"Expected names and functions in a list of attacks, got {type(attack).__name__} "
            f"{attack!r:.60}, which has no name. Give it one: {{'mine': attack}}."
        )
    return str(name)


def _find(name: str, attack: AnyAttack | str) -> AnyAttack:
    known: dict[str, AnyAttack] = {**ATTACKS, **TEXT_ATTACKS}
    if isinstance(attack, str):
        if attack not in known:
            raise ValueError(
                f"There is no attack {attack!r}; expected one of {', '.join(known)}."
                f"{did_you_mean(attack, known)}"
            )
        return known[attack]
    if not callable(attack) and not isinstance(attack, TextAttack | Joint | Medis):
        raise ValueError(
            f"Expected attack {name!r} to be a function (model, images, masks, *, epsilon, ...), a "
            f"TextAttack, Joint or Medis, or the name of an attack, got {type(attack).__name__}."
        )
    return attack


def _refuse_other_protocols(attacks: Mapping[str, AnyAttack], protocol: Protocol) -> None:
    others = [n for n, a in attacks.items() if isinstance(a, TextAttack | Joint | Medis)]
    if others and not protocol.is_sound:
        raise ValueError(
            f"Expected attacks on images only under the protocol {protocol.name!r}, which has no "
            f"rules for others, got {', '.join(others)}. Evaluate these by themselves under the "
            "protocol 'sound'."
        )
