"""The configuration of ``palpate demo``: a whole run in minutes on any machine."""

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from palpate.data import PAIRS, Augmentation
from palpate.errors import did_you_mean
from palpate.pipeline.recipe.config import (
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from palpate.pipeline.recipe.masks import MaskConfig
from palpate.pipeline.recipe.titles import name_of, titled
from palpate.training import TrainingSettings


@dataclass(frozen=True)
class Domain:
    """Phantoms (synthetic images) in an imaging mode that the embedded model was not trained on."""

    data: str
    appearance: str


MODALITIES = MappingProxyType(
    {
        "endoscopy": Domain("phantom-endoscopy", "narrow-band"),
        "dermoscopy": Domain("phantom-dermoscopy", "smartphone"),
        "echo": Domain("phantom-echo", "fundamental"),
    }
)
DEFAULT = "endoscopy"


@dataclass(frozen=True)
class Effort:
    """Amount of training and attacks: numbers of samples, epochs and steps; chosen for 2 cores."""

    train: int
    epochs: int
    val: int
    attacked: int
    steps: int
    sanity: int
    examples: int


_MINUTES = Effort(train=112, epochs=3, val=16, attacked=20, steps=10, sanity=2, examples=3)
_FAST = Effort(train=48, epochs=2, val=8, attacked=5, steps=4, sanity=1, examples=1)
# No flips: in the user's images, left and right may have an anatomical meaning.
_GENTLE = Augmentation(rotate_degrees=10.0, scale=0.1, translate=0.05, colour=0.2)


@dataclass(frozen=True)
class OwnData:
    """The user's images and masks, matched by file name.

    Attributes:
        images: Folder of the images.
        masks: Folder of the masks.
        prompt: The prompt for every image; None for models that read none.
        mask: What the values of the masks mean.
        title: Name of the data in rows, tables and pages; by default that of the folder.
    """

    images: Path
    masks: Path
    prompt: str | None = None
    mask: MaskConfig = field(default_factory=MaskConfig)
    title: str | None = None

    @property
    def name(self) -> str:
        """Name of the data."""
        return self.title or name_of(self.images)

    def settings(self, **others: Any) -> DataConfig:
        """The settings of these data, and ``others`` of the data."""
        return DataConfig(
            name=PAIRS,
            images=self.images.resolve(),
            masks=self.masks.resolve(),
            override_prompt=self.prompt,
            mask=self.mask,
            title=self.title,
            **others,
        )


def demo_config(
    modality: str = DEFAULT,
    *,
    fast: bool = False,
    own: OwnData | None = None,
    out: Path | None = None,
) -> RunConfig:
    """Configure the demo: palpate/tiny is fine-tuned on images of a new kind and attacked.

    Args:
        modality: One of ``MODALITIES``; its phantoms are in an imaging mode that the model was not
            trained on.
        fast: Train and attack less.
        own: The user's images and masks, instead of phantoms.
        out: Run folder; by default ``palpate-demo-...`` in the current directory.

    Raises:
        ValueError: If there is no such modality.
    """
    if modality not in MODALITIES:
        raise ValueError(
            f"Expected a modality among {', '.join(MODALITIES)}, got {modality!r}."
            f"{did_you_mean(modality, MODALITIES)}"
        )
    effort = _FAST if fast else _MINUTES
    name = "-".join(["demo", own.name if own else modality, *["fast"] * fast])
    config = RunConfig(
        name=name,
        out=out or Path(f"palpate-{name}"),
        data=_data(modality, own, effort),
        model=ModelConfig(name="palpate/tiny", adapter="dense-vl"),
        train=_training(own, effort),
        evaluate=EvaluateConfig(
            attacks={
                "noise": {},
                "fgsm": {},
                # An image at DSC 0 cannot get worse: no pass is spent on it any more.
                "pgd": {"steps": effort.steps, "early_stop": True},
            },
            epsilon_255=(1.0, 2.0, 4.0),
            sanity_samples=effort.sanity,
            examples=effort.examples,
        ),
    )
    return titled(config)


def _data(modality: str, own: OwnData | None, effort: Effort) -> DataConfig:
    limits: dict[str, Any] = {
        "size": 224,
        "train_limit": effort.train,
        "val_limit": effort.val,
        "test_limit": effort.attacked,
    }
    if own is not None:
        return own.settings(**limits)
    domain = MODALITIES[modality]
    return DataConfig(name=domain.data, appearance=domain.appearance, **limits)


def _training(own: OwnData | None, effort: Effort) -> TrainConfig:
    settings = TrainingSettings(
        epochs=effort.epochs, warmup_epochs=0.5, batch_size=16, learning_rate=2e-3
    )
    return TrainConfig(settings, _GENTLE if own else None)
