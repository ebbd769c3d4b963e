"""The evaluation stage of a run: attack its model, score it, and write the rows."""

from functools import partial
from typing import Any

import pandas as pd

from palpate.attacks.text import TextAttack
from palpate.data import PromptedDataset
from palpate.evaluation import SOUND, ExampleStore, Joint, Medis, evaluate
from palpate.evaluation.medis.condition import mask_bank
from palpate.models import PixelModel, load_model
from palpate.pipeline.attack_config import wants_bank
from palpate.pipeline.config import RunConfig
from palpate.pipeline.plan import Plan, texts_of
from palpate.pipeline.stages import Splits, base_model, device
from palpate.pipeline.universal import fit_all
from palpate.progress import Progress

OTHER_PROTOCOL = "sound"  # folder of rows that have no form under the protocol of the run


def attack_and_score(
    config: RunConfig, plan: Plan, model: PixelModel, splits: Splits, progress: Progress
) -> None:
    """Run all attacks of a run; rows go to ``rows/`` and examples to ``examples/``.

    Under another protocol than the sound one, attacks on texts and MedIS are run by themselves
    under the sound one; their rows go to ``sound/``, because rows of two protocols are not mixed.
    """
    wanted, data, seed = config.evaluate, splits.attacked, config.seed
    _refuse_texts(model, texts_of(plan.attacks))
    fitted = fit_all(plan.attacks, model, splits.seen, config.folder / "universal", seed, progress)
    attacks = {name: _with_bank(attack, data) for name, attack in fitted.items()}
    protocol = wanted.choices.protocol
    others: dict[str, Any] = {}
    if not protocol.is_sound:
        others = {n: a for n, a in attacks.items() if isinstance(a, TextAttack | Joint | Medis)}
    run = partial(
        evaluate,
        model,
        data,
        seed=seed,
        batch_size=wanted.batch_size,
        workers=wanted.workers,
        tolerance=wanted.tolerance,
        tau=wanted.tau,
        progress=progress,
    )
    run(
        {name: attack for name, attack in attacks.items() if name not in others},
        epsilons=wanted.radii,
        out=config.folder / "rows",
        protocol=protocol,
        precision=wanted.precision,
        metrics=wanted.metrics,
        examples=ExampleStore(config.folder / "examples", wanted.examples),
    )
    if others:
        run(others, out=config.folder / OTHER_PROTOCOL, protocol=SOUND, stage="other attacks")


def score_baseline(
    config: RunConfig, data: PromptedDataset, progress: Progress
) -> pd.DataFrame | None:
    """Clean scores of the model before it was trained: the frozen-encoder baseline."""
    if not config.evaluate.baseline or not config.model.trains:
        return None
    model = load_model(
        base_model(config, progress),
        options=config.model.options,
        seed=config.seed,
        device=device(config),
    )
    if model.fresh:
        return None
    return evaluate(
        model,
        data,
        {},
        out=config.folder / "baseline",
        seed=config.seed,
        batch_size=config.evaluate.batch_size,
        workers=config.evaluate.workers,
        protocol=config.evaluate.choices.protocol,  # or the gain would be that of the protocol
        tolerance=config.evaluate.tolerance,
        tau=config.evaluate.tau,
        metrics=config.evaluate.metrics,
        progress=progress,
        stage="baseline",
    )


def _refuse_texts(model: PixelModel, names: list[str]) -> None:
    if names and not model.reads_any_text:
        means = "no more than a class" if model.text_conditioned else "nothing"
        raise ValueError(
            f"Expected a model that reads any text for the attacks {', '.join(names)}, got "
            f"{model.name!r}, to which a prompt means {means}. Take them out of the recipe."
        )


def _with_bank(attack: Any, data: PromptedDataset) -> Any:
    """The attack, with the masks of the data if it has to choose its target from masks."""
    return partial(attack, bank=mask_bank(data, data.cases)) if wants_bank(attack) else attack
