"""The shortest perturbation that reached an attack's goal on each image so far."""

import math
import warnings

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from palpate.geometry import norms
from palpate.types import Images, Norm

_ROUNDING = 1e-6


class UnbrokenWarning(RuntimeWarning):
    """An attack that has a goal to reach did not reach it on some image."""


class Shortest:
    """Keeps, per image, the successful iterate of the smallest norm; until then the clean image.

    Attributes:
        adversarial: One image each, the clean one where nothing was found.
        length: Norm of its perturbation; infinite where nothing was found.
    """

    def __init__(self, images: Images, norm: Norm, max_epsilon: float) -> None:
        self.adversarial = images.clone()
        self.length = torch.full((len(images),), torch.inf).to(images)
        self._images, self._norm, self._max_epsilon = images, norm, max_epsilon

    @property
    def found(self) -> Bool[Tensor, " b"]:
        """For which images something was found."""
        return self.length.isfinite()

    def consider(
        self, rows: Int[Tensor, " k"], candidates: Images, reached: Bool[Tensor, " k"]
    ) -> None:
        """Take what reached the goal, lies in the ball, and is shorter than what is there."""
        length = norms(candidates - self._images[rows], self._norm)
        allowed = length <= self._max_epsilon * (1 + _ROUNDING)
        shorter = (reached & allowed & (length < self.length[rows])).cpu()
        chosen = rows[shorter]
        self.adversarial[chosen] = candidates[shorter]
        self.length[chosen] = length[shorter]


def largest_radius(norm: Norm, max_epsilon: float | None) -> float:
    """The bound of a search: the one given, else none but the range of pixels.

    Raises:
        ValueError: If the bound is no radius in pixel units.

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
    """One :class:`UnbrokenWarning` for all images that come back as they were."""
    lost = ~shortest.found
    if lost.any():
        within = "" if math.isinf(max_epsilon) else f" within an {norm} radius of {max_epsilon:.4g}"
        warnings.warn(
            f"Found no perturbation{within} that takes the Dice score {goal} for "
            f"{int(lost.sum())} of {len(lost)} images; they come back unchanged. Count them as "
            "not broken: more steps may break them.",
            UnbrokenWarning,
            stacklevel=4,  # this function, the search or bisection, one above it: then the caller
        )
