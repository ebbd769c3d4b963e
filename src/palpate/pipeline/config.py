"""A run as a recipe describes it: typed, checked before any work, and kept with the result."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from palpate.atomic import replacing
from palpate.attacks.medis.medis import MEDIS_LOSSES, RADIUS
from palpate.attacks.medis.targets import TARGETS
from palpate.config_io import load_yaml
from palpate.data import DATASETS, PAIRS, Augmentation
from palpate.data.sources.hugging_face import PREFIX as HF
from palpate.data.sources.hugging_face import parse_name
from palpate.data.splits import POOLS, PROTOCOLS, members
from palpate.errors import did_you_mean, yaml_fault
from palpate.evaluation import Medis
from palpate.evaluation.batches import BATCH_SIZE
from palpate.evaluation.medis.rows import UNTARGETED
from palpate.models import Learns
from palpate.models.clipseg.adapters import ADAPTERS
from palpate.models.from_backbone.dinov2 import NewParts
from palpate.models.request import AdapterInit, AdapterName
from palpate.pipeline.protocols import Choices, ProtocolName, choices_of
from palpate.training import TrainingSettings

Recipe = TypeVar("Recipe")

# Of an evaluation; refused here, for there it would be after hours of training.
_LEAST = {"batch_size": 1, "workers": 0, "examples": 0, "sanity_samples": 0}
MEDIS = "medis-tables"  # an attack of recipes: each loss of MedIS by itself towards each target
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class DataConfig:
    """Which images, at which size, with which texts."""

    __pydantic_config__ = _STRICT
    name: str = "kvasir"
    """Data set; `folder` for one of your own in the same layout, `pairs` for two folders,
    `hf:NAME_OR_DIR` for one of Hugging Face's (`hf:me/polyps?mask=outline` names its columns);
    several joined by `+`, or a pool such as `pooled-polyp` or `cross-polyp`."""
    test_name: str | None = None
    """Data set, or several, to attack, where it is not the one to train on."""
    annotations: str = ""
    """Folder below anns/ with another division of the same data, made by `palpate data split`."""
    root: Path | None = None
    """Folder that holds the data set; by default $PALPATE_DATA, or else data/."""
    images: Path | None = None
    """Of `pairs`: the folder of images; override_prompt is the text for all of them."""
    masks: Path | None = None
    """Of `pairs`: the folder of masks, called like their images."""
    size: int | None = 224
    """Images are resized to a square of this side in pixels; null keeps their own size."""
    prompt: str = "random"
    """Prompt level (p1, p2, ...), `random` (drawn once per sample) or `all`."""
    override_prompt: str | None = None
    """One text for every sample, in place of their own."""
    cache: Path | None = None
    """Folder in which decoded samples are kept, to be shared by runs; null decodes every time."""
    appearance: str | None = None
    """How phantoms are recorded, such as `narrow-band`; null for the usual way."""
    train_limit: int | None = None
    """Use so many training samples, of as many patients as there are."""
    val_limit: int | None = None
    """Choose the best epoch by so many validation samples."""
    test_limit: int | None = None
    """Attack so many samples: one of each patient before a second one of any."""

    def __post_init__(self) -> None:
        for key in ("name", "test_name"):
            _check_data_set(key, getattr(self, key))
        given = {key for key in ("images", "masks") if getattr(self, key) is not None}
        if self.name == PAIRS and (len(given) < 2 or self.override_prompt is None):
            raise ValueError(
                "Expected data.images, data.masks and data.override_prompt (the text for every "
                f"image) beside data.name {PAIRS!r}. For the folder that `palpate data prepare` "
                f"made of them, data.name folder and data.root DIR/{PAIRS}."
            )
        if self.name == PAIRS and (self.test_name or self.annotations):
            raise ValueError(
                f"Expected no data.test_name and no data.annotations beside data.name {PAIRS!r}, "
                "whose pairs are dealt by the seed."
            )
        if given and self.name != PAIRS:
            raise ValueError(
                f"Expected data.{' and data.'.join(sorted(given))} only with data.name {PAIRS!r}, "
                f"got data.name {self.name!r}."
            )


@dataclass(frozen=True)
class BuildConfig:
    """A model to be built from a DINOv2 and pretrained, where no CLIPSeg is at hand."""

    __pydantic_config__ = _STRICT
    backbone: Path = Path("weights/dinov2_vits14_imgfocus")
    """DINOv2 directory; relative paths are also looked up under the data root."""
    tokenizer: Path = Path("weights/clip_tokenizer")
    """Folder with vocab.json and merges.txt; looked up likewise."""
    parts: NewParts = field(default_factory=NewParts)
    """Sizes of the new text tower and decoder."""
    datasets: tuple[str, ...] = ("kvasir", "isic", "camus")
    """Data sets whose training splits teach the new parts."""
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            epochs=12, warmup_epochs=1.0, weight_decay=1e-2, precision="bf16"
        )
    )
    """How the new parts are trained."""
    cache: Path = Path("runs/pretrained")
    """Where finished models are kept, by what they were made of."""


@dataclass(frozen=True)
class ModelConfig:
    """Which model, with which adapter."""

    __pydantic_config__ = _STRICT
    name: str | None = None
    """A name that `palpate models` lists, a CLIPSeg in Hugging Face's layout (hub name or
    directory), or a checkpoint of palpate."""
    build: BuildConfig | None = None
    """Where there is no name: build and pretrain one."""
    adapter: AdapterName | None = "dense-vl"
    """Where the adapters go in models that have places for them; null and no `learns` trains
    nothing and attacks the model as it is."""
    learns: Learns | None = None
    """`adapters`; `decoder`, with the adapters; `all`; or `nothing`. Null: the adapters, or all of
    a model that has no places for them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the model's family, such as the sizes of a network that is made anew."""
    init: AdapterInit = "identity"
    """`identity`, or `paper` for the published form."""
    width: int | None = None
    """Bottleneck of the adapters; null for the published one."""
    checkpoint: Path | None = None
    """Where what is trained is or goes; by default checkpoint/ in the run folder."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; `auto` takes CUDA where there is one."""

    @property
    def trains(self) -> bool:
        """Whether anything is trained before the model is attacked."""
        return self.learns != "nothing" and (self.adapter or self.learns) is not None


@dataclass(frozen=True)
class TrainConfig:
    """How the adapters are trained."""

    __pydantic_config__ = _STRICT
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    """Hyper-parameters of the loop."""
    augmentation: Augmentation | None = None
    """Random changes of the training images; null for none, as published."""


@dataclass(frozen=True)
class MedisConfig:
    """MedIS as its tables count it: steps of each loss to each target, image by image."""

    __pydantic_config__ = _STRICT
    targets: tuple[str, ...] = (UNTARGETED, *TARGETS)
    """`untargeted`, and masks to aim at: `random`, `nearest`, `white`, `black`."""
    losses: tuple[str, ...] = MEDIS_LOSSES
    """Losses that race for each image."""
    steps: int = 10
    """Steps of 1/255, at most."""
    epsilon_255: float = RADIUS * 255
    """Radius of the ball, in steps of an 8-bit image."""
    criterion: Literal["miou", "dice"] = "miou"
    """Score that success is judged by."""
    success: float | None = None
    """Score with the truth down from which an attack without a target has succeeded."""
    success_target: float | None = None
    """Score with the target from which one with a target has."""
    faithful: bool = False
    """Do all as the published notebooks do it."""
    limit: int | None = None
    """Use the first so many samples."""

    def __post_init__(self) -> None:
        _ = self.resolved  # which checks everything

    @property
    def resolved(self) -> Medis:
        """The same for :func:`palpate.evaluation.evaluate`."""
        settings = asdict(self)
        return Medis(epsilon=settings.pop("epsilon_255") / 255, **settings)

    @property
    def options(self) -> dict[str, Any]:
        """What differs from the defaults, as the options of an attack in a recipe."""
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        given = {name: value for name, (value, default) in values.items() if value != default}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}


@dataclass(frozen=True)
class EvaluateConfig:
    """What is done to the model, and how it is scored."""

    __pydantic_config__ = _STRICT
    split: Literal["train", "val", "test"] = "test"
    """Split to attack."""
    attacks: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"noise": {}, "fgsm": {}, "pgd": {"steps": 40}}
    )
    """Attacks on image or text by the name they get in the table, with their options; `attack`
    names the attack itself where it differs from that name. On the command line names alone: with
    the options of the recipe, or their own defaults."""
    medis: MedisConfig | None = None
    """Deprecated: write these options under `attacks`, as those of `medis-tables`."""
    epsilon_255: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    """Radii of the ball, in steps of an 8-bit image (1 = 1/255)."""
    protocol: ProtocolName = "sound"
    """`sound`, or `paper` for the published study with all of its choices."""
    switches: Mapping[str, Any] = field(default_factory=dict)
    """Single choices of the protocol made otherwise, such as `storage: png`."""
    epsilon_normalised: tuple[float, ...] = (0.01, 0.03, 0.1, 0.5)
    """Radii under the protocol `paper`, in units of the normalised image."""
    batch_size: int = BATCH_SIZE
    """Images attacked at a time; changes nothing but speed and memory."""
    workers: int = 1
    """Threads that read the next images meanwhile; 0 for none. Changes no number."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic during the attack; scores are always computed in fp32."""
    examples: int = 4
    """Samples whose images are kept for the figures."""
    sanity_samples: int = 8
    """Samples on which the sanity card tests the attacks, about 100 passes each; 0: no card."""
    baseline: bool = True
    """Also score the model without its adapter, on clean images."""
    tau: float = 0.5
    """An attack succeeds where it takes the DSC from above tau to tau or below."""
    tolerance: float = 2.0
    """Tolerance of the normalised surface Dice, in pixels."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"Expected {name} >= {least}, got {getattr(self, name)}.")
        if not 0 <= self.tau < 1:
            raise ValueError(f"Expected tau, a DSC, from 0 to below 1, got {self.tau:g}.")
        if not 0 <= self.tolerance < inf:
            raise ValueError(f"Expected tolerance >= 0 pixels, got {self.tolerance:g}.")
        if self.medis is not None:
            self._move_medis(self.medis)

    def _move_medis(self, medis: MedisConfig) -> None:
        """Put the older setting where MedIS stands today, so that nothing else has to know it."""
        if MEDIS in self.attacks:
            raise ValueError(
                f"Expected MedIS once, got evaluate.medis and evaluate.attacks.{MEDIS}; drop the "
                "first."
            )
        warnings.warn(
            f"evaluate.medis is deprecated. Write its options as an attack: evaluate.attacks."
            f"{MEDIS}: {medis.options}",
            FutureWarning,
            stacklevel=2,
        )
        object.__setattr__(self, "attacks", {**self.attacks, MEDIS: medis.options})
        object.__setattr__(self, "medis", None)

    @property
    def choices(self) -> Choices:
        """What the protocol means."""
        return choices_of(self.protocol, self.switches)

    @property
    def radii(self) -> tuple[float, ...]:
        """Radii in the units of the protocol."""
        if self.protocol == "paper":
            return self.epsilon_normalised
        return tuple(epsilon / 255 for epsilon in self.epsilon_255)


@dataclass(frozen=True)
class RunConfig:
    """One run: a data set, a model, its training, the attacks on it, and a report."""

    __pydantic_config__ = _STRICT
    name: str = "run"
    """What the report calls it."""
    out: Path | None = None
    """Run folder; by default runs/NAME."""
    seed: int = 0
    """Seed of everything random."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        if self.model.name is None and self.model.build is None:
            raise ValueError(
                "Expected model.name (one that `palpate models` lists, a hub name, a directory) or "
                "model.build (make a CLIPSeg from a DINOv2), got neither."
            )
        if self.model.adapter not in (None, *ADAPTERS):
            raise ValueError(f"Expected model.adapter in {ADAPTERS}, got {self.model.adapter!r}.")
        for epsilon in self.evaluate.epsilon_255:
            if not 0.1 <= epsilon <= 255:
                raise ValueError(
                    "Expected evaluate.epsilon_255 in steps of an 8-bit image, 0.1 to 255 (8 for "
                    f"8/255), got {epsilon:g}."
                )

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out or Path("runs") / self.name


@dataclass(frozen=True)
class TransferOptions:
    """How the surrogate is attacked; see :func:`palpate.attacks.transfer`."""

    steps: int = 10
    """Updates."""
    momentum: float = 1.0
    """MI: of the gradient; 0 for none."""
    diversity: float = 0.5
    """DI: how often the surrogate sees a smaller image; 0 for never."""
    kernel: int = 5
    """TI: side of the Gaussian that smooths the gradient, in pixels; 1 for none."""
    scales: int = 1
    """SI: how many brightnesses the gradient is averaged over; 1 for none."""


def read_config(path: Path) -> RunConfig:
    """Read the recipe of a run; see :func:`read_recipe`."""
    return read_recipe(path, RunConfig)


def read_recipe(path: Path, kind: type[Recipe]) -> Recipe:
    """Read a recipe.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not YAML, or a setting is unknown or of the wrong kind; all faults are
            listed.
    """
    return recipe_from(read_values(path), kind, str(path))


def read_values(path: Path) -> dict[str, Any]:
    """The plain values of a recipe, unchecked.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a YAML mapping.
    """
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise FileNotFoundError(f"There is no recipe {path}; beside it: {', '.join(near) or '-'}.")
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not readable YAML: {yaml_fault(error)}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not readable YAML: Expected UTF-8, got {error}.") from error
    if not isinstance(values or {}, dict):
        raise ValueError(f"Expected settings in {path}, got {type(values).__name__}.")
    return values or {}


def config_from(values: Mapping[str, Any], source: str = "the configuration") -> RunConfig:
    """A run configuration from plain values, checked."""
    return recipe_from(values, RunConfig, source)


def recipe_from(values: Mapping[str, Any], kind: type[Recipe], source: str) -> Recipe:
    """A recipe of some kind from plain values, checked."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(fault)}" for fault in error.errors())
        raise ValueError(f"{source} cannot be used:\n{faults}") from None


def plain(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain values, as YAML and JSON can hold them."""
    values: dict[str, Any] = TypeAdapter(RunConfig).dump_python(config, mode="json")
    return values


def write_config(config: RunConfig, path: Path) -> None:
    """Write the resolved configuration, whole or not at all; it reads back as the same run."""
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(plain(config), sort_keys=False), encoding="utf-8")


def _check_data_set(key: str, name: str | None) -> None:
    if name is None or (key == "name" and name == PAIRS):
        return
    if name.startswith(HF):
        parse_name(name)
        return
    unknown = [one for split in ("train", "test") for one in members(name, split)]
    unknown = [one for one in unknown if one not in DATASETS]
    if unknown:
        raise ValueError(
            f"Expected data.{key} in {', '.join((*DATASETS, PAIRS, *POOLS, *PROTOCOLS))}, "
            f"{HF}NAME_OR_DIR, or several joined by '+', got {unknown[0]!r}."
            f"{did_you_mean(unknown[0], DATASETS)}"
        )


def _fault(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _names(asdict(_DEFAULT))
        return f"{where}: there is no such setting.{did_you_mean(str(fault['loc'][-1]), known)}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message}, got {fault['input']!r:.80}" if where else message


def _names(values: Mapping[str, Any]) -> list[str]:
    found = list(values)
    for value in values.values():
        if isinstance(value, Mapping):
            found += _names(value)
    return found


_DEFAULT = RunConfig(model=ModelConfig(build=BuildConfig()))
