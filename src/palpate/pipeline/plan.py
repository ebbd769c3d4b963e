"""What a run is going to do to its model, tried out before anything long begins."""

from palpate.evaluation.text_trials import AnyTextAttack
from palpate.pipeline.attacking import attacks_of
from palpate.pipeline.config import RunConfig
from palpate.pipeline.fitting import ToFit
from palpate.pipeline.prompting import text_attacks_of
from palpate.types import Attack


def check_plan(config: RunConfig) -> None:
    """Try out all attacks of a run before anything long begins.

    Raises:
        ValueError: If the recipe asks for what is not there.
        FileNotFoundError: If a file that it names is not there.
    """
    planned_attacks(config)
    planned_texts(config)


def planned_attacks(config: RunConfig) -> dict[str, Attack | ToFit]:
    """The attacks of a run on the image, tried out on a model of one line.

    Raises:
        ValueError: If the recipe asks for what is not there.
    """
    wanted = config.evaluate
    return attacks_of(wanted.attacks, wanted.radii, wanted.choices.options)


def planned_texts(config: RunConfig) -> dict[str, AnyTextAttack]:
    """The attacks of a run on the text.

    Raises:
        ValueError: If the recipe asks for what is not there.
    """
    return text_attacks_of(config.evaluate.attacks)
