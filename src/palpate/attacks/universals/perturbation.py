"""A universal perturbation: its values, its ball and its provenance, in memory and on disk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from palpate.attacks.universals.files import read_tensors, write_tensors
from palpate.geometry import norms
from palpate.types import Norm


@dataclass(frozen=True, repr=False)
class UniversalPerturbation:
    """A perturbation to be added to every image.

    Attributes:
        delta: Values to add, in units of pixel value.
        epsilon: Radius of the ball that it was fitted in, in units of pixel value.
        norm: Norm of that ball.
        made_of: Settings of the fit, and hashes of its model and data, by name.
    """

    delta: Float[Tensor, "c h w"]
    epsilon: float
    norm: Norm
    made_of: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Shape, ball and a hash of the values, which is the same in every process."""
        raw = self.delta.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        shape = "x".join(map(str, self.delta.shape))
        digest = blake2b(raw.tobytes(), digest_size=8).hexdigest()
        return f"UniversalPerturbation({shape}, {self.norm} {self.epsilon:.6g}, {digest})"

    def fitted_to(self, height: int, width: int) -> Float[Tensor, "c h w"]:
        """Resize the perturbation for images of another size.

        It is resized bilinearly and then scaled to its original norm, because both the number of
        pixels and the smoothing change the norm.

        Args:
            height: Height of the images, in pixels.
            width: Width of the images, in pixels.
        """
        if self.delta.shape[1:] == (height, width):
            return self.delta
        resized = F.interpolate(
            self.delta[None], (height, width), mode="bilinear", align_corners=False
        )
        # The lower bound avoids a division by 0 for a perturbation of zeros.
        longer = norms(self.delta[None], self.norm) / norms(resized, self.norm).clamp_min(1e-12)
        return resized[0] * longer

    def save(self, path: Path | str) -> None:
        """Write a safetensors file, whole or not at all."""
        told = {"epsilon": self.epsilon, "norm": self.norm, "made_of": dict(self.made_of)}
        write_tensors({"delta": self.delta}, Path(path), json.dumps(told))

    @classmethod
    def load(cls, path: Path | str) -> "UniversalPerturbation":
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no universal perturbation.
        """
        tensors, text = read_tensors(Path(path))
        try:
            told = json.loads(text)
            return cls(tensors["delta"], told["epsilon"], told["norm"], told["made_of"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"Expected a universal perturbation in {path}, got another file ({error!r}); "
                "make one with fit_universal(...).save(path)."
            ) from error
