"""The stages of a run, each of which picks up whatever an earlier call has left."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import pandas as pd
import torch

from palpate.data import PromptedDataset, load_data, load_pairs
from palpate.data.load import data_root
from palpate.data.pool import pool
from palpate.evaluation import ExampleStore, evaluate
from palpate.models import (
    FAMILIES,
    Learns,
    PixelModel,
    build_from_dinov2,
    find_family,
    is_checkpoint,
    load_model,
)
from palpate.models.adapters import AdapterName
from palpate.models.weights import fingerprint, read_weights
from palpate.pipeline.attacking import attacks_of
from palpate.pipeline.config import BuildConfig, DataConfig, ModelConfig, RunConfig
from palpate.progress import Progress
from palpate.training import pretrain, train
from palpate.types import Attack


@dataclass(frozen=True)
class Splits:
    """The splits of a run's data set, checked before any work starts.

    Attributes:
        attacked: What is attacked and scored.
        taught: Training and validation split, if there is anything to train.
    """

    attacked: PromptedDataset
    taught: tuple[PromptedDataset, PromptedDataset] | None


def load_splits(config: RunConfig) -> Splits:
    """Find the data set of a run and check every file of it."""
    load, wanted = _loader(config.data, config.seed), config.data
    attacked = load(split=config.evaluate.split, limit=wanted.test_limit)
    if not config.model.trains:
        return Splits(attacked, None)
    train, val = (
        load(split=split, limit=limit)
        for split, limit in (("train", wanted.train_limit), ("val", wanted.val_limit))
    )
    return Splits(attacked, (train, val))


def _loader(wanted: DataConfig, seed: int) -> Callable[..., PromptedDataset]:
    """Loads a split, and so many of it."""
    if wanted.images is not None and wanted.masks is not None:
        text = wanted.override_prompt or ""
        return partial(
            load_pairs, wanted.images, wanted.masks, prompt=text, size=wanted.size, seed=seed
        )
    return partial(
        load_data,
        wanted.name,
        wanted.root,
        size=wanted.size,
        prompt=wanted.prompt,
        override_prompt=wanted.override_prompt,
        appearance=wanted.appearance,
        seed=seed,
    )


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


def tune(config: RunConfig, splits: Splits, progress: Progress) -> PixelModel:
    """The model with what is trained of it; trained first unless that is done."""
    base, wanted = base_model(config, progress), config.model
    adapter, learns = _chosen(wanted, base)
    load = partial(load_model, options=wanted.options, seed=config.seed, device=device(config))
    model = load(base, adapter, init=wanted.init, width=wanted.width)
    if splits.taught is None:
        return model
    model.learn(learns)
    out, (data, val) = wanted.checkpoint or config.folder / "checkpoint", splits.taught
    data = data.augmented(config.train.augmentation)
    train(model, data, val, out, config.train.settings, progress=progress)
    return load(out, base=base)


def _chosen(wanted: ModelConfig, base: Path | str) -> tuple[AdapterName | None, Learns]:
    """Which adapter goes in and what learns: all of it, where there is no place for adapters."""
    by_default = wanted.adapter == ModelConfig.adapter
    if by_default and not is_checkpoint(Path(base)):
        family, _ = find_family(str(base))
        if not FAMILIES[family].adapters:
            return None, wanted.learns or "all"
    # Where there is no place for an adapter that was asked for, load_model refuses it.
    return wanted.adapter, wanted.learns or ("adapters" if wanted.adapter else "nothing")


def planned_attacks(config: RunConfig) -> dict[str, Attack]:
    """The attacks of a run, tried out on a model of one line.

    Raises:
        ValueError: If the recipe asks for what is not there.
    """
    wanted = config.evaluate
    return attacks_of(wanted.attacks, wanted.radii, wanted.choices.options)


def press(
    config: RunConfig, model: PixelModel, data: PromptedDataset, progress: Progress
) -> pd.DataFrame:
    """Attack the model and score it; rows and examples go to the run folder."""
    wanted = config.evaluate
    return evaluate(
        model,
        data,
        planned_attacks(config),
        epsilons=wanted.radii,
        out=config.folder / "rows",
        seed=config.seed,
        batch_size=wanted.batch_size,
        protocol=wanted.choices.protocol,
        precision=wanted.precision,
        tolerance=wanted.tolerance,
        tau=wanted.tau,
        examples=ExampleStore(config.folder / "examples", wanted.examples),
        progress=progress,
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
        tolerance=config.evaluate.tolerance,
        tau=config.evaluate.tau,
        progress=progress,
        stage="baseline",
    )


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
