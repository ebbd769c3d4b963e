"""Distil the image encoder of a large model into a smaller one.

The student's hidden states are mapped linearly to the teacher's width and trained to match the
teacher's hidden states, patch by patch, at the blocks that the decoder reads (FitNets, Romero et
al., 2015, https://arxiv.org/abs/1412.6550). No masks are needed. Teacher and student always get the
same augmented image.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.models import VLSM, load_vlsm
from palpate.progress import Progress, silent
from palpate.randomness import seeded
from palpate.training.batches import AnyData, identity, in_order
from palpate.training.model_directory import fit_directory
from palpate.training.settings import TrainingSettings
from palpate.training.train import TrainingImages


class Pupil(nn.Module):
    """Student and teacher in one module, which returns the differences of their hidden states."""

    def __init__(self, student: VLSM, teacher: VLSM, seed: int = 0) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher
        small, large = (m.net.config.vision.hidden_size for m in (student, teacher))
        with seeded(seed):
            depth = len(student.net.config.extract_layers)
            self.maps = nn.ModuleList(nn.Linear(small, large) for _ in range(depth))
        teacher.requires_grad_(False)
        student.requires_grad_(False)
        student.net.clip.vision_model.requires_grad_(True)

    def forward(self, images: Tensor, prompts: tuple[str, ...]) -> Tensor:
        """Differences of the normalised hidden states ``(b, taps, n, d)``; prompts are ignored."""
        del prompts
        with torch.no_grad():
            wanted = _tapped(self.teacher, images)
        found = _tapped(self.student, images)
        pairs = zip(self.maps, found, wanted, strict=True)
        return torch.stack([_normalised(to(o)) - _normalised(t) for to, o, t in pairs], dim=1)


def distil(
    student: Path,
    teacher: Path,
    data: AnyData,
    validation: AnyData,
    out: Path,
    settings: TrainingSettings,
    *,
    device: str = "cpu",
    progress: Progress = silent,
) -> Path:
    """Train the student's image encoder on the teacher's hidden states.

    An interrupted training resumes from its last finished epoch.

    Args:
        student: Model folder of the student, see :func:`palpate.models.shrink`.
        teacher: Model folder of the teacher. Patch size and extracted blocks must be the same.
        data: Training images of the network's input size; masks and prompts are ignored.
        validation: Images used to select the best epoch, by the mean cosine similarity of
            student and teacher.
        out: Output folder for the distilled model; the training state is in ``out/work``.
        settings: Hyperparameters; those of the segmentation loss are ignored.
        device: Device to train on.
        progress: Called after every step.

    Returns:
        ``out``.
    """
    small, large = (load_vlsm(folder, device) for folder in (student, teacher))
    pupil = Pupil(small, large, settings.seed).to(device)
    held_out = TrainingImages(validation)
    return fit_directory(
        pupil,
        pupil.student,
        student,
        TrainingImages(data),
        lambda module: {"agreement": _agreement(module, held_out, settings)},
        out,
        settings,
        identity=f"distil {pupil.student.base_hash} {pupil.teacher.base_hash} "
        f"{identity(data, validation)}",
        stage="distilling",
        progress=progress,
        criterion=lambda differences, _, __=None: differences.square().mean(),
        judged_by="agreement",
    )


def _tapped(model: VLSM, images: Tensor) -> list[Tensor]:
    net = model.net
    taps: list[Tensor] = net.clip.vision_model(model.to_network(images), net.config.extract_layers)
    return taps


@torch.no_grad()
def _agreement(pupil: nn.Module, data: TrainingImages, settings: TrainingSettings) -> float:
    """Mean cosine similarity of the student's mapped hidden states and the teacher's."""
    device, found = next(pupil.parameters()).device, []
    for batch in in_order(data, settings.batch_size, settings.workers):
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            differences = pupil(batch.inputs.to(device), batch.prompts)
        # For vectors normalised to variance 1: |a - b|^2 / d = 2 - 2 cos(a, b).
        found.append(1 - differences.square().flatten(1).mean(1) / 2)
    return torch.cat(found).mean().item()


def _normalised(states: Tensor) -> Tensor:
    # In a large transformer, a few channels are a hundred times larger than the others. Without
    # normalisation they would dominate the loss.
    return F.layer_norm(states.float(), states.shape[-1:])
