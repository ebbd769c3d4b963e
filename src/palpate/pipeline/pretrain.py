"""Make a small model of one's own: vocabulary, student, distillation, training on masks.

This is how the embedded model ``palpate/tiny`` came about; ``recipes/tiny.yaml`` does it again.
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
from palpate.pipeline.stages import find_weights
from palpate.progress import Progress, silent
from palpate.training import TrainingSettings, distil, train_whole


@dataclass(frozen=True)
class TeachConfig:
    """What a small model is made of, and what it learns from."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    name: str = "tiny"
    """Name of the folder under runs/."""
    out: Path | None = None
    """Folder; by default runs/NAME."""
    seed: int = 0
    """Seed of everything random."""
    backbone: Path = Path("weights/dinov2_vits14_imgfocus")
    """DINOv2 directory of the teacher; relative paths are also looked up under the data root."""
    root: Path | None = None
    """Folder that holds the data sets; by default $PALPATE_DATA, or else data/."""
    datasets: tuple[str, ...] = ("kvasir", "isic", "busi")
    """Data sets whose training splits are learnt from."""
    phantoms: int = 500
    """Phantoms of each kind in an epoch; every epoch has others."""
    doubles: int = 0
    """Phantoms of polyps and lesions in an epoch, of each kind, that have two of them, so that the
    prompt must decide; beside those above, in the training of the whole model."""
    held_out: int = 60
    """Phantoms of each kind that choose the best epoch, beside the validation splits."""
    vocabulary: int = 1200
    """The most tokens; they are learnt from the prompts of these data."""
    student: StudentSize = field(default_factory=StudentSize)
    """Size of the image tower."""
    parts: NewParts = field(default_factory=NewParts)
    """Sizes of text tower and decoder."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Random changes of the training images."""
    distillation: TrainingSettings = field(default_factory=TrainingSettings)
    """How the tower learns to see what the teacher sees."""
    training: TrainingSettings = field(default_factory=TrainingSettings)
    """How the whole model learns to find what a prompt names."""

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return self.out or Path("runs") / self.name


def teach(config: TeachConfig, progress: Progress = silent) -> Path:
    """Make a small model; what an earlier call finished is not done again.

    Args:
        config: The recipe.
        progress: Told about every step.

    Returns:
        The finished model directory, in half precision.

    Raises:
        ValueError, FileNotFoundError: If the recipe, the data or the backbone cannot be used; found
            before the first long computation.
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
    taught = distil(
        student, teacher, seen, pool(validation), out / "distilled", config.distillation,
        progress=progress,
    )  # fmt: skip
    asked = pool([_augmented(part, config.augmentation) for part in (*data, *_doubles(config))])
    trained = train_whole(
        taught, asked, pool(validation), out / "trained", config.training, progress=progress
    )
    return write_half(trained, out / "model")


def _parts(config: TeachConfig, split: str) -> Iterator[PromptedDataset]:
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


def _doubles(config: TeachConfig) -> Iterator[PromptedDataset]:
    if not config.doubles:
        return
    policy = PromptPolicy("random", seed=config.seed + 1)  # other scenes than those above
    for name in ("phantom-endoscopy", "phantom-dermoscopy"):
        yield phantom_data(
            name, policy, split="train", size=config.parts.input_size, count=config.doubles,
            things=2, fresh=True,
        )  # fmt: skip


def _augmented(part: PromptedDataset, augmentation: Augmentation) -> PromptedDataset:
    if not part.spec.mirrors:
        augmentation = replace(augmentation, flip_horizontal=0.0, flip_vertical=0.0)
    return part.augmented(augmentation)


def _texts(data: Sequence[PromptedDataset]) -> Iterator[str]:
    """Every text of every entry, so that a word counts as often as it will be read."""
    for part in data:
        for entry in part.entries:
            for texts in entry.prompts.values():
                yield from texts
