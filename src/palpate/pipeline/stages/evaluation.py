"""The evaluation stage of a run: attack its model, score it, and write the rows."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from palpate.attacks.text import TextAttack
from palpate.data import PromptedDataset
from palpate.evaluation import SOUND, ExampleStore, Joint, Medis, evaluate
from palpate.evaluation.medis.condition import mask_bank
from palpate.evaluation.resolve import AnyAttack
from palpate.evaluation.runner import Recheck
from palpate.models import PixelModel
from palpate.models.exported.network import why_not_traced
from palpate.models.wrap.wrap import Wrapped
from palpate.pipeline.attacks.images import needs_gradient, wants_bank
from palpate.pipeline.attacks.plan import Plan, texts_of
from palpate.pipeline.attacks.universal import fit_all
from palpate.pipeline.recipe.config import RunConfig
from palpate.pipeline.stages.preparation import Splits, base_model, load_base
from palpate.progress import Progress

OTHER_PROTOCOL = "sound"  # folder for rows of attacks that the run's protocol does not support


def attack_and_score(
    config: RunConfig,
    plan: Plan,
    model: PixelModel,
    splits: Splits,
    progress: Progress,
) -> None:
    """Run all attacks of a run; write rows to ``rows/`` and examples to ``examples/``.

    If the protocol of the run is not the sound one, attacks on texts and MedIS are run separately
    under the sound protocol. Their rows are written to ``sound/``, because rows of different
    protocols are never mixed.

    Args:
        config: The recipe.
        plan: The attacks of the run.
        model: The fine-tuned model.
        splits: The splits of the data set.
        progress: Called for every batch.

    Raises:
        ValueError: If an attack changes the prompt and the model does not read any text, or needs a
            gradient and the model has none.
    """
    _refuse_texts(model, texts_of(plan.attacks))
    _refuse_gradients(model, plan)
    places = config.folder / "universal"
    fitted = fit_all(plan.attacks, model, splits.seen, places, config.seed, progress)
    score(config, fitted, model, splits.attacked, progress)


def score(
    config: RunConfig,
    fitted: Mapping[str, AnyAttack],
    model: PixelModel,
    data: PromptedDataset,
    progress: Progress,
    recheck: Recheck | None = None,
) -> None:
    """Run attacks that are ready; see :func:`attack_and_score`.

    Args:
        config: The recipe.
        fitted: The attacks by name, with fitted perturbations.
        model: The fine-tuned model.
        data: The samples.
        progress: Called for every batch.
        recheck: Compute only these rows, and save no examples.
    """
    wanted, seed = config.evaluate, config.seed
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
        recheck=recheck,
        progress=progress,
    )
    shown = 0 if recheck is not None else wanted.examples
    run(
        {name: attack for name, attack in attacks.items() if name not in others},
        epsilons=wanted.radii,
        out=config.folder / "rows",
        protocol=protocol,
        precision=wanted.precision,
        metrics=wanted.metrics,
        examples=ExampleStore(config.folder / "examples", shown),
    )
    if others:
        run(others, out=config.folder / OTHER_PROTOCOL, protocol=SOUND, stage="other attacks")


def score_baseline(
    config: RunConfig, data: PromptedDataset, progress: Progress, recheck: Recheck | None = None
) -> pd.DataFrame | None:
    """Score the model before fine-tuning on clean images.

    Returns:
        The rows; None if the run has no baseline, trains nothing, or the model has random weights.
    """
    if not config.evaluate.baseline or not config.model.trains:
        return None
    model = load_base(config, base_model(config, progress))
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
        protocol=config.evaluate.choices.protocol,  # otherwise the gain would include its effect
        tolerance=config.evaluate.tolerance,
        tau=config.evaluate.tau,
        metrics=config.evaluate.metrics,
        recheck=recheck,
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


def _refuse_gradients(model: PixelModel, plan: Plan) -> None:
    """Refuse attacks that need a gradient, before the others are run on a model without one."""
    why = (model.gradientless or why_not_traced(model)) if isinstance(model, Wrapped) else ""
    if not why:
        return
    on_images = {n: a for n, a in plan.attacks.items() if not isinstance(a, TextAttack | Joint)}
    lost = [n for n, a in on_images.items() if isinstance(a, Medis) or needs_gradient(a)]
    if lost:
        others = ", ".join(name for name in on_images if name not in lost) or "none"
        raise ValueError(
            f"{model.name} has no gradient ({why}), and the attacks {', '.join(lost)} need one. "
            f"Attacks of this run that work without: {others}. Leave the former out and attack it "
            "with square, spsa, simba or hopskipjump, and noise as a control. Nothing was computed."
        )


def _with_bank(attack: Any, data: PromptedDataset) -> Any:
    """Bind the masks of the data to an attack that chooses its target from masks."""
    return partial(attack, bank=mask_bank(data, data.cases)) if wants_bank(attack) else attack
