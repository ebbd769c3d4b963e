"""The shortest successful perturbation of each image so far."""

import math
import warnings

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from palpate.geometry import norms
from palpate.types import Images, Norm

_ROUNDING = 1e-6  # relative tolerance of the largest norm


class UnbrokenWarning(RuntimeWarning):
    """A minimal-norm attack found no success for some image."""


class Shortest:
    """Keeps, for each image, the successful iterate with the shortest perturbation.

    Attributes:
        adversarial: That iterate; the clean image if there was no success.
        length: Norm of its perturbation; infinite if there was no success.
    """

    def __init__(self, images: Images, norm: Norm, max_epsilon: float) -> None:
        self.adversarial = images.clone()
        self.length = torch.full((len(images),), torch.inf).to(images)
        self._images, self._norm, self._max_epsilon = images, norm, max_epsilon

    @property
    def found(self) -> Bool[Tensor, " b"]:
        """Which images had a success."""
        return self.length.isfinite()

    def update(
        self, rows: Int[Tensor, " k"], candidates: Images, reached: Bool[Tensor, " k"]
    ) -> None:
        """Keep candidates that reached the goal, lie in the ball, and are shorter than before."""
        length = norms(candidates - self._images[rows], self._norm)
        allowed = length <= self._max_epsilon * (1 + _ROUNDING)
        shorter = (reached & allowed & (length < self.length[rows])).cpu()
        chosen = rows[shorter]
        self.adversarial[chosen] = candidates[shorter]
        self.length[chosen] = length[shorter]


def largest_radius(norm: Norm, max_epsilon: float | None) -> float:
    """The largest radius of a search: the given one, or the largest that pixels in [0, 1] allow.

    Raises:
        ValueError: If the norm is unknown or the radius out of range.

    >>> largest_radius("linf", None), largest_radius("l2", None)
    (1.0, inf)
    """
    if norm not in ("l2", "linf"):
        raise ValueError(f"Expected norm 'l2' or 'linf', got {norm!r}.")
    if max_epsilon is None:
        return 1.0 if norm == "linf" else math.inf
    if not max_epsilon >= 0:
        raise ValueError(f"Expected max_epsilon >= 0, got {max_epsilon}.")
    if norm == "linf" and max_epsilon > 1:
        raise ValueError(
            f"Expected max_epsilon <= 1, got {max_epsilon}: pixels lie in [0, 1]; "
            f"for {max_epsilon:g} grey levels of 255 pass {max_epsilon:g} / 255."
        )
    return max_epsilon


def warn_if_unbroken(shortest: Shortest, max_epsilon: float, norm: Norm, goal: str) -> None:
    """Give one :class:`UnbrokenWarning` for all images without a success."""
    lost = ~shortest.found
    if lost.any():
        within = "" if math.isinf(max_epsilon) else f" within an {norm} radius of {max_epsilon:.4g}"
        warnings.warn(
            f"Found no perturbation{within} that takes the Dice score {goal} for "
            f"{int(lost.sum())} of {len(lost)} images; they come back unchanged. Count them as "
            "not broken; more steps may break them.",
            UnbrokenWarning,
            stacklevel=4,  # skips this function, the search or bisection, and one frame above it
        )
