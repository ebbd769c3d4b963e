"""The plan of a run: its attacks, resolved and tried out before any long computation."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from palpate.attacks.text import TextAttack
from palpate.data.annotations import ALL_SPLITS
from palpate.evaluation import Joint, Medis
from palpate.evaluation.image_attacks import at_radii
from palpate.evaluation.metrics import find_metrics
from palpate.evaluation.resolve import AnyAttack
from palpate.pipeline.attacks.entries import entries
from palpate.pipeline.attacks.images import attacks_of, check_options, is_medis
from palpate.pipeline.attacks.texts import text_attacks_of
from palpate.pipeline.attacks.training import hardening_of
from palpate.pipeline.attacks.universal import ToFit
from palpate.pipeline.recipe.config import MedisConfig, RunConfig
from palpate.pipeline.recipe.reading import recipe_from


@dataclass(frozen=True)
class Plan:
    """The attacks of a run, ready to be run.

    Attributes:
        attacks: Attacks by their names in the rows, in the order of the recipe.
    """

    attacks: Mapping[str, AnyAttack | ToFit]

    @property
    def fits(self) -> bool:
        """Whether a perturbation has to be fitted to the training split first."""
        return any(isinstance(attack, ToFit) for attack in self.attacks.values())


def make_plan(config: RunConfig) -> Plan:
    """Resolve all attacks and metrics of a recipe, and try them out.

    Attacks on images are run once on a toy model, and user metrics on toy masks.

    Raises:
        ValueError: If an attack, option, loss or metric does not exist or cannot be run.
        FileNotFoundError: If a file named by an option does not exist.
    """
    wanted = config.evaluate
    find_metrics(wanted.metrics)  # also tries out user metrics
    given = entries(wanted.attacks)
    on_images = attacks_of(given, wanted.radii, wanted.choices.options)
    ready = {name: a for name, a in on_images.items() if not isinstance(a, ToFit)}
    at_radii(ready, wanted.radii or None, wanted.tau)  # raises now what the evaluation would raise
    found: dict[str, AnyAttack | ToFit] = {**on_images, **text_attacks_of(given)}
    found |= {n: _medis(n, options) for n, options in given.items() if is_medis(n, options)}
    if config.model.trains:
        hardening_of(config.train.adversarial)  # raises now what the training would raise
    return Plan({name: found[name] for name in given})


def texts_of(attacks: Mapping[str, Any]) -> list[str]:
    """Names of the attacks that change the prompt."""
    return [name for name, a in attacks.items() if isinstance(a, TextAttack | Joint)]


def _medis(name: str, given: Mapping[str, Any]) -> Medis:
    options = {key: value for key, value in given.items() if key != "attack"}
    check_options(name, options, [field.name for field in fields(MedisConfig)])
    return recipe_from(options, MedisConfig, f"Attack {name!r}").resolved


def described(config: RunConfig, *, attacks: bool = True) -> str:
    """Describe what a run is going to do, in a sentence for the user.

    Args:
        config: The run.
        attacks: Whether the run includes the attacks; ``palpate train`` stops before them.
    """
    wanted = config.evaluate
    model = config.model.name or "A CLIPSeg built from a DINOv2 and pretrained"
    said = f"{model}, {_training(config)}"
    if not attacks:
        return f"{said}."
    radii = ", ".join(f"{epsilon:g}" for epsilon in wanted.epsilon_255)
    sizes = f"{radii}/255" if wanted.protocol == "sound" else "the radii of the paper"
    return (
        f"{said}, attacked with {', '.join(wanted.attacks) or 'nothing'} at {sizes} on "
        f"{_attacked(config)}."
    )


def _attacked(config: RunConfig) -> str:
    limit = f"{config.data.test_limit} samples of " if config.data.test_limit else ""
    name = config.data.images or config.data.attacked
    if config.evaluate.split != ALL_SPLITS:
        return f"{limit}the {config.evaluate.split} split of {name}"
    seen = ", those of training included" if config.model.trains else ""
    return f"{limit or 'all images of '}{name}{seen}"


def _training(config: RunConfig) -> str:
    if not config.model.trains:
        return "as it is"
    epochs = config.train.settings.epochs
    limit = f"{config.data.train_limit} samples of " if config.data.train_limit else ""
    name = config.data.title or config.data.name
    against = config.train.adversarial
    hardened = f", against {against.attack} at {against.epsilon_255:g}/255" if against else ""
    return (
        f"fine-tuned on {limit}{name} for {epochs} epoch{'s' * (epochs != 1)} "
        f"(train.settings.epochs){hardened}"
    )
