"""The stages of a run, each of which picks up whatever an earlier call has left."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import pandas as pd
import torch

from palpate.data import PromptedDataset, cached, load_data, load_pairs
from palpate.data.load import data_root
from palpate.data.pool import pool
from palpate.evaluation import ExampleStore, evaluate, evaluate_texts
from palpate.evaluation.medis import evaluate_medis, mask_bank
from palpate.evaluation.text_trials import AnyTextAttack
from palpate.models import VLSM, build_from_dinov2, load_model
from palpate.models.weights import fingerprint, read_weights
from palpate.pipeline.attacking import attacks_of, wants_bank
from palpate.pipeline.config import BuildConfig, DataConfig, RunConfig
from palpate.pipeline.fitting import ToFit, fit_all
from palpate.pipeline.prompting import text_attacks_of
from palpate.progress import Progress
from palpate.training import pretrain, train
from palpate.types import Attack


@dataclass(frozen=True)
class Splits:
    """The splits of a run's data set, checked before any work starts.

    Attributes:
        attacked: What is attacked and scored.
        taught: Training and validation split, if there is an adapter to train.
        seen: Training split, if a perturbation must be fitted to it.
    """

    attacked: PromptedDataset
    taught: tuple[PromptedDataset, PromptedDataset] | None
    seen: PromptedDataset | None


def load_splits(config: RunConfig) -> Splits:
    """Find the data set of a run and check every file of it."""
    wanted, seed = config.data, config.seed
    attacked = _loader(wanted, wanted.test_name or wanted.name, seed)(
        split=config.evaluate.split, limit=wanted.test_limit
    )
    load = _loader(wanted, wanted.name, seed)
    fits = any(isinstance(attack, ToFit) for attack in planned_attacks(config).values())
    teaches = config.model.adapter is not None
    train = load(split="train", limit=wanted.train_limit) if fits or teaches else None
    seen = train if fits else None
    if not teaches or train is None:
        return Splits(attacked, None, seen)
    return Splits(attacked, (train, load(split="val", limit=wanted.val_limit)), seen)


def _loader(wanted: DataConfig, name: str, seed: int) -> Callable[..., PromptedDataset]:
    """Loads a split, and so many of it."""
    if wanted.images is not None and wanted.masks is not None:
        text = wanted.override_prompt or ""
        load = partial(
            load_pairs, wanted.images, wanted.masks, prompt=text, size=wanted.size, seed=seed
        )
        return load if wanted.cache is None else _then_cached(load, wanted.cache)
    return partial(
        load_data,
        name,
        wanted.root,
        annotations=wanted.annotations,
        size=wanted.size,
        prompt=wanted.prompt,
        override_prompt=wanted.override_prompt,
        appearance=wanted.appearance,
        cache=wanted.cache,
        seed=seed,
    )


def _then_cached(
    load: Callable[..., PromptedDataset], folder: Path
) -> Callable[..., PromptedDataset]:
    return lambda **wanted: cached(load(**wanted), folder)


def base_model(config: RunConfig, progress: Progress) -> Path | str:
    """Where the model without adapter is; built and pretrained first if the run says so."""
    if config.model.name is not None:
        return config.model.name
    build = config.model.build
    assert build is not None
    backbone, tokenizer = (
        find_weights(p, config.data.root) for p in (build.backbone, build.tokenizer)
    )
    out = build.cache / _name_of(backbone, build, config.seed)
    if (out / "finished").is_file():
        return out
    data, validation = (
        pool([_part(name, split, build, config) for name in build.datasets])
        for split in ("train", "val")
    )
    built = build_from_dinov2(
        backbone, tokenizer, out / "built", parts=build.parts, seed=config.seed
    )
    pretrain(built, data, validation, out, build.training, device=device(config), progress=progress)
    (out / "finished").touch()
    return out


def tune(config: RunConfig, splits: Splits, progress: Progress) -> VLSM:
    """The model with its trained adapter; trained first unless that is done."""
    base = base_model(config, progress)
    wanted = config.model
    model = load_model(
        base, wanted.adapter, init=wanted.init, width=wanted.width, seed=config.seed,
        device=device(config),
    )  # fmt: skip
    if splits.taught is None:
        return model
    out, (data, val) = wanted.checkpoint or config.folder / "checkpoint", splits.taught
    data = data.augmented(config.train.augmentation)
    train(model, data, val, out, config.train.settings, progress=progress)
    return load_model(out, base=base, device=device(config))


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


def press(config: RunConfig, model: VLSM, splits: Splits, progress: Progress) -> pd.DataFrame:
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
        protocol=wanted.choices.protocol,
        precision=wanted.precision,
        tolerance=wanted.tolerance,
        tau=wanted.tau,
        examples=ExampleStore(config.folder / "examples", wanted.examples),
        progress=progress,
    )


def press_texts(config: RunConfig, model: VLSM, data: PromptedDataset, progress: Progress) -> None:
    """Attack the prompts, if the recipe says so; rows go to ``texts/`` in the run folder."""
    attacks, wanted = planned_texts(config), config.evaluate
    if attacks:
        evaluate_texts(
            model,
            data,
            attacks,
            out=config.folder / "texts",
            seed=config.seed,
            tolerance=wanted.tolerance,
            tau=wanted.tau,
            progress=progress,
        )


def press_medis(config: RunConfig, model: VLSM, data: PromptedDataset, progress: Progress) -> None:
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
            progress=progress,
            **settings,
        )


def score_baseline(
    config: RunConfig, data: PromptedDataset, progress: Progress
) -> pd.DataFrame | None:
    """Clean scores of the model without its adapter: the frozen-encoder baseline."""
    if not config.evaluate.baseline or config.model.adapter is None:
        return None
    model = load_model(base_model(config, progress), device=device(config))
    return evaluate(
        model,
        data,
        {},
        out=config.folder / "baseline",
        seed=config.seed,
        batch_size=config.evaluate.batch_size,
        tolerance=config.evaluate.tolerance,
        tau=config.evaluate.tau,
        progress=progress,
        stage="baseline",
    )


def _with_bank(attack: Attack, data: PromptedDataset) -> Attack:
    """The attack, with the masks of the data to choose its target from if it needs some."""
    return partial(attack, bank=mask_bank(data, data.cases)) if wants_bank(attack) else attack


def device(config: RunConfig) -> str:
    """Where to compute."""
    if config.model.device != "auto":
        return config.model.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def find_weights(path: Path, root: Path | None) -> Path:
    """A directory as given, or under the data root.

    Raises:
        FileNotFoundError: If it is in neither place.
    """
    places: Sequence[Path] = (path, data_root(root) / path)
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"{path} was found neither here nor under the data root ({places[1]}). Get a DINOv2 and a "
        "CLIP vocabulary, or set model.name to a CLIPSeg that you have."
    )


def _part(name: str, split: str, build: BuildConfig, config: RunConfig) -> PromptedDataset:
    return load_data(
        name, config.data.root, split=split, size=build.parts.input_size, seed=config.seed
    )


def _name_of(backbone: Path, build: BuildConfig, seed: int) -> str:
    """A folder name that only the same ingredients give."""
    made_of = {
        "backbone": fingerprint(read_weights(backbone)),
        "parts": asdict(build.parts),
        "datasets": build.datasets,
        "training": asdict(build.training),
        "seed": seed,
    }
    digest = sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()
    return f"{backbone.name}-{digest[:10]}"
