"""Teach a small image tower to see what a large one sees.

The student's hidden states, mapped linearly to the teacher's width, are pulled towards the
teacher's at the blocks that the decoder reads, patch by patch (FitNets, Romero et al., 2015,
https://arxiv.org/abs/1412.6550). No masks are needed, and teacher and student always see the same
augmented image.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.models import VLSM, load_vlsm, write_model
from palpate.progress import Progress, silent
from palpate.randomness import seeded
from palpate.training.batches import AnyData, identity, in_order
from palpate.training.loop import fit
from palpate.training.settings import TrainingSettings
from palpate.training.train import TrainingImages


class Pupil(nn.Module):
    """A student beside its teacher; gives what still differs in what they see."""

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
        """Differences ``(b, taps, n, d)`` of normalised hidden states; prompts do not matter."""
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
    """Train the student's image tower on the teacher's hidden states; resumes where it stopped.

    Args:
        student: Model directory, see :func:`palpate.models.shrink`.
        teacher: Model directory with the same patches and the same tapped blocks.
        data: Images of the network's input size; masks and prompts are not looked at.
        validation: Images that choose the best epoch.
        out: Gets the model directory with the taught tower; ``out/work`` holds the state meanwhile.
        settings: Hyper-parameters; the weights of Dice and cross-entropy do not matter here.
        device: Where to compute.
        progress: Told about every step.

    Returns:
        ``out``.
    """
    small, large = (load_vlsm(folder, device) for folder in (student, teacher))
    pupil = Pupil(small, large, settings.seed).to(device)

    def keep_best(row: dict[str, Any]) -> None:
        write_model(pupil.student, student, out, {"settings": vars(settings), "reached": row})

    held_out = TrainingImages(validation)
    fit(
        pupil,
        TrainingImages(data),
        lambda module: {"agreement": _agreement(module, held_out, settings)},
        settings,
        out / "work",
        keep_best=keep_best,
        identity=f"distil {pupil.student.base_hash} {pupil.teacher.base_hash} "
        f"{identity(data, validation)}",
        criterion=lambda differences, _: differences.square().mean(),
        judged_by="agreement",
        progress=progress,
        stage="distilling",
    )
    return out


def _tapped(model: VLSM, images: Tensor) -> list[Tensor]:
    net = model.net
    taps: list[Tensor] = net.clip.vision_model(model.to_network(images), net.config.extract_layers)
    return taps


@torch.no_grad()
def _agreement(pupil: nn.Module, data: TrainingImages, settings: TrainingSettings) -> float:
    """Mean cosine of the angle between mapped and wanted hidden states."""
    device, found = next(pupil.parameters()).device, []
    for batch in in_order(data, settings.batch_size, settings.workers):
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            differences = pupil(batch.inputs.to(device), batch.prompts)
        # Of normalised vectors: |a - b|^2 / d = 2 - 2 cos.
        found.append(1 - differences.square().flatten(1).mean(1) / 2)
    return torch.cat(found).mean().item()


def _normalised(states: Tensor) -> Tensor:
    # A few channels of a large transformer are a hundred times the others; without this they
    # would be all that is learnt.
    return F.layer_norm(states.float(), states.shape[-1:])
