"""Pressing on the model of a run: everything that makes rows, each kind in a folder of its own."""

from dataclasses import asdict
from functools import partial

import pandas as pd

from palpate.attacks.text import Prompted
from palpate.data import PromptedDataset
from palpate.evaluation import ExampleStore, evaluate, evaluate_texts
from palpate.evaluation.medis.evaluate import evaluate_medis, mask_bank
from palpate.models import PixelModel, load_model
from palpate.pipeline.attack_config import wants_bank
from palpate.pipeline.config import RunConfig
from palpate.pipeline.plan import planned_attacks, planned_texts
from palpate.pipeline.stages import Splits, base_model, device
from palpate.pipeline.universal import fit_all
from palpate.progress import Progress
from palpate.types import Attack


def press(config: RunConfig, model: PixelModel, splits: Splits, progress: Progress) -> pd.DataFrame:
    """Attack the model and score it; rows and examples go to the run folder."""
    wanted, data, seed = config.evaluate, splits.attacked, config.seed
    planned = planned_attacks(config)
    attacks = fit_all(planned, model, splits.seen, config.folder / "universal", seed, progress)
    return evaluate(
        model,
        data,
        {name: _with_bank(attack, data) for name, attack in attacks.items()},
        epsilons=wanted.radii,
        out=config.folder / "rows",
        seed=seed,
        batch_size=wanted.batch_size,
        workers=wanted.workers,
        protocol=wanted.choices.protocol,
        precision=wanted.precision,
        tolerance=wanted.tolerance,
        tau=wanted.tau,
        metrics=wanted.metrics,
        examples=ExampleStore(config.folder / "examples", wanted.examples),
        progress=progress,
    )


def press_texts(
    config: RunConfig, model: PixelModel, data: PromptedDataset, progress: Progress
) -> None:
    """Attack the prompts, if the recipe says so; rows go to ``texts/`` in the run folder."""
    attacks, wanted = planned_texts(config), config.evaluate
    if not attacks:
        return
    if not model.reads_any_text:
        means = "no more than a class" if model.text_conditioned else "nothing"
        raise ValueError(
            f"Expected a model that is told what to look for, got {model.name!r}, to which a "
            f"prompt means {means}. Take {', '.join(attacks)} out of the recipe; the other attacks "
            "are done, and stay."
        )
    # One that is asked as a whole gets the image once for each text.
    at_once = 32 if isinstance(model, Prompted) else wanted.batch_size
    evaluate_texts(
        model,
        data,
        attacks,
        out=config.folder / "texts",
        seed=config.seed,
        tolerance=wanted.tolerance,
        tau=wanted.tau,
        workers=wanted.workers,
        progress=progress,
        at_once=at_once,
    )


def press_medis(
    config: RunConfig, model: PixelModel, data: PromptedDataset, progress: Progress
) -> None:
    """Race the losses of MedIS, if the recipe says so; lines go to ``medis/``."""
    wanted = config.evaluate.medis
    if wanted is not None:
        settings = asdict(wanted)
        evaluate_medis(
            model,
            data,
            epsilon=settings.pop("epsilon_255") / 255,
            out=config.folder / "medis",
            seed=config.seed,
            batch_size=config.evaluate.batch_size,
            workers=config.evaluate.workers,
            progress=progress,
            **settings,
        )


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


def _with_bank(attack: Attack, data: PromptedDataset) -> Attack:
    """The attack, with the masks of the data to choose its target from if it needs some."""
    return partial(attack, bank=mask_bank(data, data.cases)) if wants_bank(attack) else attack
