"""``palpate pretrain``: vocabulary, student network, distillation, and training on masks.

The embedded model ``palpate/tiny`` was made this way; ``recipes/tiny.yaml`` reproduces it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ConfigDict

from palpate.data import PHANTOMS, Augmentation, PromptedDataset, load_data
from palpate.data.phantoms import phantom_data
from palpate.data.prompt_policy import PromptPolicy
from palpate.data.sources.pool import pool
from palpate.models import StudentSize, build_from_dinov2, learn_vocabulary, shrink, write_half
from palpate.models.from_backbone.dinov2 import NewParts
from palpate.pipeline.stages.preparation import find_weights
from palpate.progress import Progress, silent
from palpate.training import TrainingSettings, distil, train_whole


@dataclass(frozen=True)
class PretrainConfig:
    """Distil a small CLIPSeg from a DINOv2 backbone, and train it on masks."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    name: str = "tiny"
    """Name of the folder under runs/."""
    out: Path | None = None
    """Output folder; by default runs/NAME."""
    seed: int = 0
    """Seed of all random numbers."""
    backbone: Path = Path("weights/dinov2_vits14_imgfocus")
    """DINOv2 directory of the teacher; relative paths are also looked up under the data root."""
    root: Path | None = None
    """Folder that holds the data sets; by default $PALPATE_DATA, or else data/."""
    datasets: tuple[str, ...] = ("kvasir", "isic", "busi")
    """Data sets whose training splits are used."""
    phantoms: int = 500
    """Phantoms (synthetic images) of each kind in an epoch; every epoch has new ones."""
    doubles: int = 0
    """Further phantoms of each kind in an epoch that show two polyps or two lesions, of which the
    prompt names one; used when the whole model is trained."""
    held_out: int = 60
    """Phantoms of each kind that are added to the validation splits."""
    vocabulary: int = 1200
    """Largest number of tokens; they are learned from the prompts of these data."""
    student: StudentSize = field(default_factory=StudentSize)
    """Size of the image encoder."""
    parts: NewParts = field(default_factory=NewParts)
    """Sizes of the text encoder and decoder."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Random changes of the training images."""
    distillation: TrainingSettings = field(default_factory=TrainingSettings)
    """How the image encoder is distilled from the teacher."""
    training: TrainingSettings = field(default_factory=TrainingSettings)
    """How the whole model is trained on masks."""

    @property
    def folder(self) -> Path:
        """The output folder."""
        return self.out or Path("runs") / self.name


def pretrain(config: PretrainConfig, progress: Progress = silent) -> Path:
    """Train a small model from scratch; a second call resumes an interrupted one.

    Args:
        config: The recipe.
        progress: Called for every step.

    Returns:
        The finished model directory, in half precision.

    Raises:
        ValueError, FileNotFoundError: If the recipe, the data or the backbone cannot be used.
            Raised before the first long computation.
    """
    out, parts = config.folder, config.parts
    backbone = find_weights(config.backbone, config.root)
    data, validation = (list(_parts(config, split)) for split in ("train", "val"))
    tokens = learn_vocabulary(_texts(data), out / "vocabulary", config.vocabulary)
    parts = replace(parts, vocabulary=tokens, end_of_text=tokens - 1)
    teacher = build_from_dinov2(
        backbone, out / "vocabulary", out / "teacher", parts=parts, seed=config.seed
    )
    student = shrink(teacher, out / "student", config.student, seed=config.seed)
    seen = pool([_augmented(part, config.augmentation) for part in data])
    distilled = distil(
        student, teacher, seen, pool(validation), out / "distilled", config.distillation,
        progress=progress,
    )  # fmt: skip
    everything = pool(
        [_augmented(part, config.augmentation) for part in (*data, *_doubles(config))]
    )
    trained = train_whole(
        distilled, everything, pool(validation), out / "trained", config.training, progress=progress
    )
    return write_half(trained, out / "model")


def _parts(config: PretrainConfig, split: str) -> Iterator[PromptedDataset]:
    size = config.parts.input_size
    for name in config.datasets:
        yield load_data(name, config.root, split=split, size=size, seed=config.seed)
    policy = PromptPolicy("random", seed=config.seed)
    for name in PHANTOMS:
        if split == "train":
            yield phantom_data(
                name, policy, split=split, size=size, count=config.phantoms, fresh=True
            )
        else:
            yield phantom_data(name, policy, split=split, size=size, count=config.held_out)


def _doubles(config: PretrainConfig) -> Iterator[PromptedDataset]:
    if not config.doubles:
        return
    policy = PromptPolicy("random", seed=config.seed + 1)  # a different seed than in _parts
    for name in ("phantom-endoscopy", "phantom-dermoscopy"):
        yield phantom_data(
            name, policy, split="train", size=config.parts.input_size, count=config.doubles,
            structures=2, fresh=True,
        )  # fmt: skip


def _augmented(part: PromptedDataset, augmentation: Augmentation) -> PromptedDataset:
    # Where left and right matter, a flip would make prompts about the position wrong.
    if not part.spec.mirrors:
        augmentation = replace(augmentation, flip_horizontal=0.0, flip_vertical=0.0)
    return part.augmented(augmentation)


def _texts(data: Sequence[PromptedDataset]) -> Iterator[str]:
    """Yield every text of every entry, so that words are counted as often as training uses them."""
    for part in data:
        for entry in part.entries:
            for texts in entry.prompts.values():
                yield from texts
