"""The stages of a run before the evaluation; each resumes after an interruption."""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from palpate.data import PromptedDataset, cached, load_data, load_pairs
from palpate.data.load import data_root
from palpate.data.sources.pool import pool
from palpate.data.structures import UnclearMasks
from palpate.located import located
from palpate.models import (
    FAMILIES,
    Learns,
    PixelModel,
    build_from_dinov2,
    find_family,
    is_checkpoint,
    load_model,
)
from palpate.models.clip.tokenizer import FILES as WORDS
from palpate.models.files.weights import fingerprint, read_weights
from palpate.models.request import AdapterName
from palpate.pipeline.attacks.plan import Plan
from palpate.pipeline.attacks.training import hardening_of
from palpate.pipeline.recipe.config import BuildConfig, DataConfig, ModelConfig, RunConfig
from palpate.progress import Progress
from palpate.prompting import refuse_missing_prompts
from palpate.training import pretrain, train


@dataclass(frozen=True)
class Splits:
    """The splits of a run's data set, checked before any work starts.

    Attributes:
        attacked: Samples that are attacked and scored.
        taught: Training and validation split; None if nothing is trained.
        seen: Training split for fitting universal perturbations; None if none is fitted.
    """

    attacked: PromptedDataset
    taught: tuple[PromptedDataset, PromptedDataset] | None
    seen: PromptedDataset | None


def load_splits(config: RunConfig, plan: Plan) -> Splits:
    """Find the data set of a run, and check every file of the splits that the run needs.

    Args:
        config: The recipe.
        plan: The attacks of the run; decide whether the training split is needed.

    Raises:
        ValueError, FileNotFoundError: If a data set is missing or damaged.
    """
    wanted, attacked = config.data, load_attacked(config)
    load = _loader(wanted, wanted.name, config.seed)
    teaches = config.model.trains
    train = load(split="train", limit=wanted.train_limit) if plan.fits or teaches else None
    seen = train if plan.fits else None
    if not teaches or train is None:
        return Splits(attacked, None, seen)
    return Splits(attacked, (train, load(split="val", limit=wanted.val_limit)), seen)


def load_attacked(config: RunConfig) -> PromptedDataset:
    """Load the samples that a run attacks."""
    wanted = config.data
    load = _loader(wanted, wanted.test_name or wanted.name, config.seed)
    return load(split=config.evaluate.split, limit=wanted.test_limit)


def _loader(wanted: DataConfig, name: str, seed: int) -> Callable[..., PromptedDataset]:
    """Return a function that loads a split (``split=``), or a part of it (``limit=``)."""
    if wanted.images is not None and wanted.masks is not None:
        load: Callable[..., PromptedDataset] = partial(
            load_pairs,
            wanted.images,
            wanted.masks,
            prompt=wanted.override_prompt,
            size=wanted.size,
            seed=seed,
            values=wanted.mask.values or None,
            ignore=wanted.mask.ignore or None,
            healthy=wanted.healthy,
            title=wanted.attacked,
        )
        load = _advising(load)
        return load if wanted.cache is None else _then_cached(load, wanted.cache)
    load = partial(
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
        values=wanted.mask.values or None,
        ignore=wanted.mask.ignore or None,
        title=wanted.title,
    )
    return _advising(load)


def _advising(load: Callable[..., PromptedDataset]) -> Callable[..., PromptedDataset]:
    """The same, with errors about the values of masks that name the settings of a recipe."""

    def loaded(**wanted: Any) -> PromptedDataset:
        try:
            return load(**wanted)
        except UnclearMasks as error:
            raise error.advising("--data.mask", " In a recipe: data.mask.") from error

    return loaded


def _then_cached(
    load: Callable[..., PromptedDataset], folder: Path
) -> Callable[..., PromptedDataset]:
    return lambda **wanted: cached(load(**wanted), folder)


def base_model(config: RunConfig, progress: Progress) -> Path | str:
    """Return name or path of the model without adapters, building and pretraining it if needed.

    A model that was built and pretrained with the same settings before is used again.
    """
    if config.model.name is not None:
        return config.model.name
    build = config.model.build
    assert build is not None
    backbone, tokenizer = (
        find_weights(p, config.data.root) for p in (build.backbone, build.tokenizer)
    )
    out = build.cache / _name_of(backbone, tokenizer, build, config.seed)
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
    (out / "finished").touch()  # marks the folder as complete, for later runs
    return out


def tune(config: RunConfig, splits: Splits, progress: Progress) -> PixelModel:
    """Return the fine-tuned model of a run, training it first if that is not done yet.

    A run that trains nothing gets the base model.
    """
    base, wanted = base_model(config, progress), config.model
    _, learns = _chosen(wanted, base)
    model = untrained(config, base)
    refuse_missing_prompts(model, {case.prompt_level for case in splits.attacked.cases})
    if splits.taught is None:
        warn_of_random_weights(model, wanted)
        return model
    if learns is not None:
        model.learn(learns)
    out, (data, val) = wanted.checkpoint or config.folder / "checkpoint", splits.taught
    data = data.augmented(config.train.augmentation)
    hardening = hardening_of(config.train.adversarial)
    train(
        model,
        data,
        val,
        out,
        config.train.settings,
        adversarial=hardening.adversarial,
        watch=hardening.watch,
        progress=progress,
    )
    return _trained(config, base, out)


def untrained(config: RunConfig, base: Path | str) -> PixelModel:
    """Return the model of a run as it is before training, with its adapters."""
    wanted = config.model
    adapter, _ = _chosen(wanted, base)
    return load_base(config, base, adapter, init=wanted.init, width=wanted.width)


def load_base(
    config: RunConfig, base: Path | str, adapter: AdapterName | None = None, **sizes: Any
) -> PixelModel:
    """Load the base model of a run, given by :func:`base_model`, with an adapter or without."""
    _, its_base = options_of(config.model, base)
    return _loader_of_models(config, base)(base, adapter, base=its_base, **sizes)


def finished(config: RunConfig, progress: Progress) -> PixelModel:
    """Return the model that a finished run attacked, without training anything.

    Raises:
        FileNotFoundError: If the run trains its model and its checkpoint is missing.
    """
    base = base_model(config, progress)
    out = config.model.checkpoint or config.folder / "checkpoint"
    if not config.model.trains:
        return untrained(config, base)
    if not is_checkpoint(out):
        raise FileNotFoundError(
            f"Expected the trained weights of the run in {out}, which is not there. Name the "
            "folder with --model.checkpoint."
        )
    return _trained(config, base, out)


def _trained(config: RunConfig, base: Path | str, checkpoint: Path) -> PixelModel:
    return _loader_of_models(config, base)(checkpoint, base=base_of(base))


def _loader_of_models(config: RunConfig, base: Path | str) -> Callable[..., PixelModel]:
    """Return ``load_model`` with the options, the seed and the device of a run."""
    options, _ = options_of(config.model, base)
    return partial(
        load_model,
        options=options,
        seed=config.seed,
        device=device(config),
        trust_code=config.model.trust_code,
    )


def base_of(base: Path | str) -> Path | str | None:
    """Return the base model to load a run's checkpoint with, given :func:`base_model` of the run.

    It is None if the base is itself a checkpoint: the new one then names that one's base.
    """
    return None if is_checkpoint(Path(base)) else base


def options_of(wanted: ModelConfig, base: Path | str) -> tuple[dict[str, Any], str | None]:
    """The options of a model, and its base model if it is a checkpoint.

    In a recipe the base model is the option ``base``. A checkpoint takes it as an argument, because
    options are for the family of the base model.
    """
    options = {
        key: str(located(value)) if isinstance(value, str) else value
        for key, value in wanted.options.items()
    }
    return options, options.pop("base", None) if is_checkpoint(Path(base)) else None


def warn_of_random_weights(model: PixelModel, wanted: ModelConfig) -> None:
    """Warn of a model that nothing has trained and nothing trains."""
    if model.fresh:
        warnings.warn(
            f"{wanted.name} is made anew with random weights, and nothing trains it, so its scores "
            "mean nothing; set model.learns to all, or name weights of it.",
            RuntimeWarning,
            stacklevel=3,
        )


def _chosen(wanted: ModelConfig, base: Path | str) -> tuple[AdapterName | None, Learns | None]:
    """Resolve which adapter is inserted and which weights are trained.

    By default models that take no adapters are trained as a whole, and a checkpoint continues
    with the weights that it has trained (None).
    """
    if wanted.is_finished:
        return None, "nothing"
    by_default = wanted.adapter == ModelConfig.adapter
    if by_default and is_checkpoint(Path(base)):
        return None, wanted.learns
    if by_default:
        family, _ = find_family(str(base))
        if not FAMILIES[family].adapters:
            return None, wanted.learns or "all"
    # If the model takes no adapters but the user asked for one, load_model raises an error.
    return wanted.adapter, wanted.learns or ("adapters" if wanted.adapter else "nothing")


def device(config: RunConfig) -> str:
    """Device of a run: the configured one, or with ``auto`` CUDA if it is available."""
    if config.model.device != "auto":
        return config.model.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def find_weights(path: Path, root: Path | None) -> Path:
    """Find a directory, as given or under the data root.

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


def _name_of(backbone: Path, tokenizer: Path, build: BuildConfig, seed: int) -> str:
    """Folder name with a hash of everything that determines the pretrained model."""
    made_of = {
        "backbone": fingerprint(read_weights(backbone)),
        "words": _hash_of_words(tokenizer),
        "parts": asdict(build.parts),
        "datasets": build.datasets,
        "training": build.training.decisive,
        "seed": seed,
    }
    digest = sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()
    return f"{backbone.name}-{digest[:10]}"


def _hash_of_words(tokenizer: Path) -> str:
    digest = sha256()
    for path in (tokenizer / name for name in WORDS):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()
