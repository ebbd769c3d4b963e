"""The configuration of a run: dataclasses whose fields are the settings of a recipe."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict

from palpate.attacks.medis.medis import MEDIS_LOSSES, RADIUS
from palpate.attacks.medis.targets import TARGETS
from palpate.data import DATASETS, PAIRS, Augmentation
from palpate.data.sources.hugging_face import PREFIX as HF
from palpate.data.sources.hugging_face import parse_name
from palpate.data.splits import POOLS, PROTOCOLS, members
from palpate.errors import did_you_mean
from palpate.evaluation import Medis
from palpate.evaluation.batches import BATCH_SIZE
from palpate.evaluation.medis.rows import UNTARGETED
from palpate.grey_levels import grey_levels
from palpate.models import Learns
from palpate.models.clipseg.adapters import ADAPTERS
from palpate.models.families import is_finished
from palpate.models.from_backbone.dinov2 import NewParts
from palpate.models.request import AdapterInit, AdapterName
from palpate.pipeline.recipe.masks import MaskConfig
from palpate.pipeline.recipe.protocols import Choices, ProtocolName, choices_of
from palpate.reporting.acceptance.criteria import read_criteria
from palpate.training import TrainingSettings
from palpate.training.adversarial import Objective

# Smallest values of settings, checked here because the evaluation would only refuse them after
# hours of training.
_LEAST = {"batch_size": 1, "workers": 0, "examples": 0, "sanity_samples": 0}
OWN = (PAIRS, "folder")  # data sets of the user, whose names say nothing
MEDIS = "medis-tables"  # name in recipes of the attack that runs each loss of MedIS separately
_STRICT = ConfigDict(extra="forbid")
GreyLevels: TypeAlias = Annotated[float, BeforeValidator(grey_levels)]


@dataclass(frozen=True)
class DataConfig:
    """Images, their size, and their prompts."""

    __pydantic_config__ = _STRICT
    name: str = "kvasir"
    """Name of the data set; several joined by `+`, or a pool such as `pooled-polyp` or
    `cross-polyp`. For your own data: `folder` (a folder in the layout of palpate), `pairs` (a
    folder of images and one of masks), or `hf:NAME_OR_DIR` for Hugging Face, where
    `hf:me/polyps?mask=outline` also names a column."""
    test_name: str | None = None
    """Data set to attack, if it is not the one to train on; named like `name`."""
    title: str | None = None
    """Name of your own data (`pairs` or `folder`) in rows, tables and pages; on the command line by
    default that of their folder."""
    annotations: str = ""
    """Folder below anns/ with another split of the same data, made by `palpate data split`."""
    root: Path | None = None
    """Folder that holds the data sets; by default $PALPATE_DATA, or else data/."""
    images: Path | None = None
    """Image folder (`pairs` only); override_prompt is the prompt for every image, and can be left
    out for models that read none."""
    masks: Path | None = None
    """Mask folder (`pairs` only), with the same file names as the images."""
    mask: MaskConfig = field(default_factory=MaskConfig)
    """What the values of the masks mean, if they are not binary."""
    healthy: bool = False
    """Allow empty masks, of images in which there is nothing to find (`pairs` only)."""
    size: int | None = 224
    """Images are resized to a square of this side, in pixels; null keeps their size."""
    prompt: str = "random"
    """Prompt level: p1, p2, ..., `random` (one drawn for each sample) or `all`."""
    override_prompt: str | None = None
    """Use this prompt for every sample, instead of those of the data set."""
    cache: Path | None = None
    """Folder for decoded images, which runs can share; null decodes the files every time."""
    appearance: str | None = None
    """Imaging mode of phantoms (synthetic images), such as `narrow-band`; null for the default."""
    train_limit: int | None = None
    """Train on this many samples, from as many patients as possible; null for all."""
    val_limit: int | None = None
    """Choose the best epoch on this many validation samples; null for all."""
    test_limit: int | None = None
    """Attack this many samples, from as many patients as possible; null for all."""

    def __post_init__(self) -> None:
        for key in ("name", "test_name"):
            _check_data_set(key, getattr(self, key))
        given = {key for key in ("images", "masks") if getattr(self, key) is not None}
        if self.name == PAIRS and len(given) < 2:
            raise ValueError(
                "Expected data.images, data.masks and data.override_prompt (the text for every "
                f"image) with data.name {PAIRS!r}. For the folder that `palpate data prepare` "
                f"made of them, use data.name folder and data.root DIR/{PAIRS}."
            )
        if self.healthy and self.name != PAIRS:
            raise ValueError(
                f"Expected data.healthy only with data.name {PAIRS!r}, got {self.name!r}, which "
                "allows empty masks as it is. Leave it out."
            )
        if self.title is not None:
            self._check_title(self.title)
        if self.name == PAIRS and (self.test_name or self.annotations):
            raise ValueError(
                f"Expected no data.test_name and no data.annotations with data.name {PAIRS!r}, "
                "which is split at random by the seed. Leave them out."
            )
        if given and self.name != PAIRS:
            raise ValueError(
                f"Expected data.{' and data.'.join(sorted(given))} only with data.name {PAIRS!r}, "
                f"got data.name {self.name!r}."
            )

    def _check_title(self, title: str) -> None:
        if not title.strip():
            raise ValueError("Expected a name for your data in data.title, got an empty one.")
        if self.name not in OWN or self.test_name:
            raise ValueError(
                f"Expected data.title only with data.name {' or '.join(OWN)}, which are your own "
                f"data; got {self.test_name or self.name!r}, which has a name. Leave it out."
            )

    @property
    def attacked(self) -> str:
        """Name of the data set that is attacked, as tables and pages show it."""
        return self.title or self.test_name or self.name


@dataclass(frozen=True)
class BuildConfig:
    """Build and pretrain a CLIPSeg on a DINOv2 backbone, if no pretrained CLIPSeg is available."""

    __pydantic_config__ = _STRICT
    backbone: Path = Path("weights/dinov2_vits14_imgfocus")
    """DINOv2 directory; relative paths are also looked up under the data root."""
    tokenizer: Path = Path("weights/clip_tokenizer")
    """Folder with vocab.json and merges.txt; looked up in the same way."""
    parts: NewParts = field(default_factory=NewParts)
    """Sizes of the new text encoder and decoder."""
    datasets: tuple[str, ...] = ("kvasir", "isic", "camus")
    """Data sets on whose training splits the new parts are trained."""
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            epochs=12, warmup_epochs=1.0, weight_decay=1e-2, precision="bf16"
        )
    )
    """How the new parts are trained."""
    cache: Path = Path("runs/pretrained")
    """Folder for finished models, which later runs with the same settings use again."""


@dataclass(frozen=True)
class ModelConfig:
    """The model, its adapter, and what of it is trained."""

    __pydantic_config__ = _STRICT
    name: str | None = None
    """A name that `palpate models` lists, a CLIPSeg of Hugging Face (hub name or directory), a
    checkpoint of palpate, a TorchScript, torch.export or ONNX file, a MONAI bundle, or your own
    code (file.py:function)."""
    build: BuildConfig | None = None
    """Build and pretrain a model, if there is no name."""
    adapter: AdapterName | None = "dense-vl"
    """Adapter for models of the CLIPSeg family: dense, shallow or telescopic adapters, or lora, in
    v (image encoder), vl (image and text encoder) or vlc (also the decoder's conditioning). If
    this is null and `learns` is not given, the model is attacked as it is, without training."""
    learns: Learns | None = None
    """What is trained: `adapters`, `decoder` (with the adapters), `all` or `nothing`. Null means
    the adapters, or everything in models that take no adapters."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the model family, such as the sizes of a new network."""
    init: AdapterInit = "identity"
    """Initial weights of the adapters: `identity` changes nothing, `paper` is as published."""
    width: int | None = None
    """Bottleneck width of the adapters; null for the published one."""
    checkpoint: Path | None = None
    """Folder of the trained weights; by default checkpoint/ in the run folder."""
    trust_code: bool = False
    """Let files of the model run code of their own, such as the expressions in a MONAI bundle."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; `auto` uses CUDA if it is available."""

    @property
    def trains(self) -> bool:
        """Whether anything is trained before the model is attacked."""
        if self.is_finished:
            return False
        return self.learns != "nothing" and (self.adapter or self.learns) is not None

    @property
    def is_finished(self) -> bool:
        """Whether the name is a file of a finished network, and no setting says to train it."""
        return (
            self.learns is None
            and self.adapter in (None, ModelConfig.adapter)
            and self.name is not None
            and is_finished(self.name)
        )


@dataclass(frozen=True)
class AdversarialConfig:
    """Adversarial training: images are attacked before each training step."""

    __pydantic_config__ = _STRICT
    attack: str = "segpgd"
    """Attack on images: a name that `palpate attacks` lists, your own code (file.py:function), or
    `free` for training that uses each batch `steps` times and its gradients for the attack, too."""
    steps: int = 3
    """Steps of the attack; `pgd` with 1 step is fast adversarial training."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Other options of the attack, as in evaluate.attacks."""
    epsilon_255: GreyLevels = 2.0
    """Radius, in steps of an 8-bit image (2 means 2/255)."""
    share: float = 1.0
    """Share of each batch that is attacked; the rest stays clean."""
    warmup_epochs: float = 0.0
    """Epochs in which the radius rises to `epsilon_255`; may be fractional."""
    objective: Objective = "attacked"
    """`attacked`: the usual loss at attacked images. `trades`: that at clean images, plus `beta`
    times the divergence between the predictions of the clean and the attacked image."""
    beta: float = 6.0
    """Weight of the divergence with `trades`."""
    watched: int = 16
    """Validation images attacked by PGD (10 steps) after every epoch; they decide, with the clean
    DSC, which epoch is best, and warn of catastrophic overfitting. 0 for none."""
    clean_weight: float = 0.5
    """Weight of the clean DSC in the choice of the best epoch; the rest is that of the attacked."""


@dataclass(frozen=True)
class TrainConfig:
    """How the model is trained."""

    __pydantic_config__ = _STRICT
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    """Hyperparameters of training."""
    augmentation: Augmentation | None = None
    """Data augmentation; null for none, as published."""
    adversarial: AdversarialConfig | None = None
    """Adversarial training; null for ordinary training."""


@dataclass(frozen=True)
class MedisConfig:
    """The MedIS attack as in its paper: steps of each loss to each target, for each image."""

    __pydantic_config__ = _STRICT
    targets: tuple[str, ...] = (UNTARGETED, *TARGETS)
    """`untargeted`, or the target mask: `random`, `nearest`, `white`, `black`."""
    losses: tuple[str, ...] = MEDIS_LOSSES
    """Losses that attack each image in parallel; the quickest success counts."""
    steps: int = 10
    """Largest number of steps of 1/255."""
    epsilon_255: GreyLevels = RADIUS * 255
    """Radius of the perturbation, in units of 1/255 (8 means 8/255)."""
    criterion: Literal["miou", "dice"] = "miou"
    """Score that decides about success."""
    success: float | None = None
    """An untargeted attack succeeds if the score with the ground truth is at or below this."""
    success_target: float | None = None
    """A targeted attack succeeds if the score with the target mask is at or above this."""
    faithful: bool = False
    """Follow the published notebooks in every detail."""
    limit: int | None = None
    """Use only this many samples; null for all."""

    def __post_init__(self) -> None:
        _ = self.resolved  # raises an error if an option is invalid

    @property
    def resolved(self) -> Medis:
        """These options as an attack for :func:`palpate.evaluation.evaluate`."""
        settings = asdict(self)
        return Medis(epsilon=settings.pop("epsilon_255") / 255, **settings)

    @property
    def options(self) -> dict[str, Any]:
        """Options that differ from the defaults, as they are written in a recipe."""
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        given = {name: value for name, (value, default) in values.items() if value != default}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}


@dataclass(frozen=True)
class EvaluateConfig:
    """Attacks on the model, and how it is scored."""

    __pydantic_config__ = _STRICT
    split: Literal["train", "val", "test", "all"] = "test"
    """Split to attack; `all` is train, val and test together."""
    attacks: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"noise": {}, "fgsm": {}, "pgd": {"steps": 40}}
    )
    """Attacks on image or prompt, each with its name in the tables and its options. If that is a
    name of your own, the option `attack` says which attack it is. `against: pgd` compares it with
    `pgd`; `budgets: {steps: [10, 40]}` runs it once for each value. On the command line, give names
    (with the options of the recipe or the defaults) or names with options: `"pgd: {steps: 10}"`."""
    medis: MedisConfig | None = None
    """Deprecated: write these options under `attacks`, as those of `medis-tables`."""
    epsilon_255: tuple[GreyLevels, ...] = (1.0, 2.0, 4.0, 8.0)
    """Radii of the perturbation, in units of 1/255 (8 means 8/255)."""
    protocol: ProtocolName = "sound"
    """Evaluation protocol: `sound`, or `paper` to follow the published study."""
    switches: Mapping[str, Any] = field(default_factory=dict)
    """Single choices in which the evaluation differs from the protocol, such as `storage: png`."""
    epsilon_normalised: tuple[float, ...] = (0.01, 0.03, 0.1, 0.5)
    """Radii for the protocol `paper`, in units of the normalised image."""
    batch_size: int = BATCH_SIZE
    """Images attacked at a time; affects speed and memory only."""
    workers: int = 1
    """Threads that load the next images; 0 for none. Affects speed only."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic during the attack; scores are always computed in fp32."""
    examples: int = 4
    """Samples whose images are saved for the figures."""
    sanity_samples: int = 8
    """Samples for the sanity card, 275 forward and 135 backward passes each; 0 for no card."""
    baseline: bool = True
    """Also score the model before training, on clean images."""
    tau: float = 0.5
    """An attack succeeds if it lowers the DSC from above tau to tau or below."""
    tolerance: float = 2.0
    """Tolerance of the normalised surface Dice, in pixels."""
    metrics: tuple[str, ...] | None = None
    """Metrics to compute: `dsc`, `iou`, `miou`, `hd95`, `nsd`, `precision`, `recall`, those of
    probability maps such as `mae`, or your own as `file.py:function`; null for the first five."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"Expected {name} >= {least}, got {getattr(self, name)}.")
        for epsilon in self.epsilon_255:
            grey_levels(epsilon)  # again, for values from the command line
        if not 0 <= self.tau < 1:
            raise ValueError(f"Expected tau, a DSC, from 0 to below 1, got {self.tau:g}.")
        if not 0 <= self.tolerance < inf:
            raise ValueError(f"Expected tolerance >= 0 pixels, got {self.tolerance:g}.")
        if self.medis is not None:
            self._move_medis(self.medis)

    def _move_medis(self, medis: MedisConfig) -> None:
        """Move the deprecated setting to ``attacks``, so that no other code has to handle it."""
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
        """The choices made by ``protocol`` and ``switches``."""
        return choices_of(self.protocol, self.switches)

    @property
    def radii(self) -> tuple[float, ...]:
        """Radii in the units of the protocol."""
        if self.protocol == "paper":
            return self.epsilon_normalised
        return tuple(epsilon / 255 for epsilon in self.epsilon_255)


@dataclass(frozen=True)
class RunConfig:
    """A run: train a model on a data set, attack it, score it and report."""

    __pydantic_config__ = _STRICT
    name: str = "run"
    """Name of the run, used in the report; without a recipe, by default MODEL-DATA."""
    out: Path | None = None
    """Run folder; by default runs/NAME."""
    seed: int = 0
    """Seed of all random numbers."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    acceptance: Mapping[str, Any] = field(default_factory=dict)
    """Acceptance criteria: `criteria`, a list, and `hold`, all or any of them. They are hashed
    before the run starts, and the page has the verdict; `--criteria FILE` reads them."""

    def __post_init__(self) -> None:
        if self.acceptance:
            read_criteria(self.acceptance, "acceptance")
        if self.model.name is None and self.model.build is None:
            raise ValueError(
                "Expected model.name (one that `palpate models` lists, a hub name, a directory) or "
                "model.build (build a CLIPSeg on a DINOv2), got neither."
            )
        if self.model.adapter not in (None, *ADAPTERS):
            raise ValueError(f"Expected model.adapter in {ADAPTERS}, got {self.model.adapter!r}.")

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out or Path("runs") / self.name


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
