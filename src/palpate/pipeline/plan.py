"""What a run is going to do to its model, tried out before anything long begins."""

from palpate.evaluation.conditions import plan
from palpate.evaluation.metrics import find_metrics
from palpate.evaluation.text.conditions import AnyTextAttack
from palpate.pipeline.attack_config import attacks_of
from palpate.pipeline.config import RunConfig
from palpate.pipeline.text_attack_config import text_attacks_of
from palpate.pipeline.universal import ToFit
from palpate.types import Attack


def check_plan(config: RunConfig) -> None:
    """Try out all attacks and metrics of a run before anything long begins.

    Raises:
        ValueError: If the recipe asks for what is not there.
        FileNotFoundError: If a file that it names is not there.
    """
    planned_attacks(config)
    planned_texts(config)
    find_metrics(config.evaluate.metrics)


def planned_attacks(config: RunConfig) -> dict[str, Attack | ToFit]:
    """The attacks of a run on the image, tried out on a model of one line.

    Raises:
        ValueError: If the recipe asks for what is not there.
    """
    wanted = config.evaluate
    attacks = attacks_of(wanted.attacks, wanted.radii, wanted.choices.options)
    ready = {name: a for name, a in attacks.items() if not isinstance(a, ToFit)}
    plan(ready, wanted.radii or None, wanted.tau)  # what evaluation refuses, before any training
    return attacks


def planned_texts(config: RunConfig) -> dict[str, AnyTextAttack]:
    """The attacks of a run on the text.

    Raises:
        ValueError: If the recipe asks for what is not there.
    """
    return text_attacks_of(config.evaluate.attacks)


def described(config: RunConfig, *, attacks: bool = True) -> str:
    """What a run is going to do, in a sentence for the person who started it.

    Args:
        config: The run.
        attacks: Whether it goes on to the attacks.
    """
    wanted = config.evaluate
    model = config.model.name or "A CLIPSeg built from a DINOv2 and pretrained"
    said = f"{model}, {_training(config)}"
    if not attacks:
        return f"{said}."
    radii = ", ".join(f"{epsilon:g}" for epsilon in wanted.epsilon_255)
    sizes = f"{radii}/255" if wanted.protocol == "sound" else "the radii of the paper"
    limit = f"{config.data.test_limit} samples of " if config.data.test_limit else ""
    return (
        f"{said}, attacked with {', '.join(wanted.attacks) or 'nothing'} at {sizes} on {limit}the "
        f"{wanted.split} split of {config.data.test_name or config.data.name}."
    )


def _training(config: RunConfig) -> str:
    if not config.model.trains:
        return "as it is"
    epochs = config.train.settings.epochs
    limit = f"{config.data.train_limit} samples of " if config.data.train_limit else ""
    return (
        f"fine-tuned on {limit}{config.data.name} for {epochs} epoch{'s' * (epochs != 1)} "
        "(train.settings.epochs)"
    )
