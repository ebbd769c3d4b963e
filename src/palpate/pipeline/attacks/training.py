"""Adversarial training as a recipe describes it: its attack, resolved and tried out."""

from functools import partial
from typing import Any, Final, NamedTuple

from palpate.attacks import pgd
from palpate.attacks.text import TEXT_ATTACKS
from palpate.pipeline.attacks.images import JOINT, configured, options_known, rehearse, wants_bank
from palpate.pipeline.recipe.config import MEDIS, AdversarialConfig
from palpate.training.adversarial import Adversarial
from palpate.training.watch import Watch
from palpate.types import Attack

FREE: Final = "free"
_STEPS: Final = 10  # of the attack on validation images
_WHERE: Final = "train.adversarial"


class Hardening(NamedTuple):
    """How a model is trained against attacks; nothing is set for ordinary training."""

    adversarial: Adversarial | None = None
    watch: Watch | None = None


def hardening_of(config: AdversarialConfig | None) -> Hardening:
    """Configure adversarial training, and run its attack once on a toy model.

    Args:
        config: The settings ``train.adversarial`` of a recipe.

    Raises:
        ValueError: If the attack does not exist, cannot train, or a setting is out of range.
    """
    if config is None:
        return Hardening()
    epsilon = config.epsilon_255 / 255
    adversarial = Adversarial(
        None if config.attack == FREE else _attack(config, epsilon),
        epsilon,
        share=config.share,
        warmup_epochs=config.warmup_epochs,
        objective=config.objective,
        beta=config.beta,
        replays=config.steps if config.attack == FREE else 1,
    )
    if config.watched < 0:
        raise ValueError(f"Expected {_WHERE}.watched >= 0, got {config.watched}.")
    if config.watched == 0:
        return Hardening(adversarial)
    watching = partial(pgd, steps=_STEPS)
    return Hardening(adversarial, Watch(watching, epsilon, config.watched, config.clean_weight))


def _attack(config: AdversarialConfig, epsilon: float) -> Attack:
    if config.attack in (*TEXT_ATTACKS, JOINT, MEDIS):
        raise ValueError(
            f"Expected an attack on images in {_WHERE}.attack, such as segpgd or pgd, got "
            f"{config.attack!r}."
        )
    options: dict[str, Any] = {"attack": config.attack, **config.options}
    if "steps" in options_known(config.attack):
        options.setdefault("steps", config.steps)
    attack = configured(_WHERE, options)
    if wants_bank(attack):
        raise ValueError(
            f"Expected an attack that needs no masks of other images in {_WHERE}.attack, got "
            f"{config.attack!r} with target {config.options['target']!r}."
        )
    rehearse(_WHERE, attack, epsilon)
    return attack
