"""A threat model: constraints on a perturbation, combined with the norm ball and [0, 1]."""

import math
from dataclasses import dataclass

from palpate.attacks.threats.channels import shared_range
from palpate.attacks.threats.constraint import Constraint
from palpate.attacks.threats.lattice import GREYS, is_stored, store, whole_step
from palpate.geometry import norms, perturb, project, random_direction, random_in_ball, steepest
from palpate.types import Images, Masks, Norm, Randomness

# In grey levels: in floating point 8 / 255 * 255 may be less than 8.
_SLACK = {"linf": 1e-4, "l2": 1e-6}
# Alternating projections of a pattern and the cube; see tests/attacks/test_threat_optimum.py.
_ROUNDS = 8


@dataclass(frozen=True)
class Threat:
    """Projections, steps and random points of a norm ball under constraints.

    Attacks use these instead of the functions in :mod:`palpate.geometry`. The images it returns
    obey the threat model, the ball and [0, 1]. Constraints of kind ``place`` and ``channels``, and
    the lattice, hold exactly for the returned image. A ``pattern``, and tied channels combined with
    it, hold for the perturbation before it is clamped to [0, 1]: in images with black corners, for
    example, hardly any low-frequency perturbation needs no clamping.

    Without constraints and lattice, results equal those of the plain ball bit for bit.

    Attributes:
        constraints: Constraints that all apply.
        lattice: Whether all values of an adversarial image must be multiples of 1/255.
    """

    constraints: tuple[Constraint, ...] = ()
    lattice: bool = False

    def __post_init__(self) -> None:
        patterns = [each for each in self.constraints if each.kind == "pattern"]
        others = [each for each in self.constraints if each.kind == "place"] + patterns[1:]
        if patterns and others:
            raise ValueError(
                f"Expected {patterns[0]} alone or with tied channels, got it with {others[0]}: "
                "what is cut to a place is no longer such a pattern."
            )
        if patterns and self.lattice:
            raise ValueError(
                f"Expected {patterns[0]} without the 8-bit lattice, got both: rounded, it is no "
                "longer such a pattern. Store the attacked images and score them again instead."
            )

    @property
    def is_bare(self) -> bool:
        """Whether only the ball and [0, 1] restrict the images."""
        return not (self.constraints or self.lattice)

    def least(self, images: Images, norm: Norm) -> float:
        """The smallest radius of a ball that contains another image.

        On the lattice this is one grey level, with tied channels one level in each of them;
        without the lattice it is 0.
        """
        if not self.lattice:
            return 0.0
        channels = images.shape[1] if self._tied and norm == "l2" else 1
        return math.sqrt(channels) / GREYS

    def check(self, images: Images, epsilon: float, norm: Norm) -> None:
        """Raise ``ValueError`` if images are not on the lattice, or epsilon is too small for it."""
        if self.lattice and not is_stored(images):
            raise ValueError(
                "Expected images of whole grey levels (k / 255) with the 8-bit lattice, got "
                "others; round them before they are attacked: (255 * images).round() / 255."
            )
        if self.lattice and 0 < epsilon < self.least(images, norm) * (1 - _SLACK[norm]):
            channels = round((self.least(images, norm) * GREYS) ** 2)
            several = channels > 1
            least = f"sqrt({channels}) / 255" if several else "1 / 255"
            raise ValueError(
                f"Expected epsilon of {least} or more with the 8-bit lattice"
                f"{' and tied channels in l2' if several else ''}, got {epsilon:.4g}: no other "
                "stored image is so near."
            )

    def project(self, delta: Images, masks: Masks) -> Images:
        """Project perturbations or gradients on the constraints."""
        for constraint in self.constraints:
            delta = constraint.project(delta, masks)
        return delta

    def step(self, gradient: Images, masks: Masks, length: float, norm: Norm) -> Images:
        """The steepest ascent step that obeys all constraints.

        Its length is ``length``. Under a low-frequency ``linf`` threat the length is approximate,
        and on the lattice it is a whole number of grey levels.
        """
        direction = self.direction(gradient, masks, norm)
        if self.lattice:
            return whole_step(direction, length, norm, tied=self._tied)
        return length * direction

    def direction(self, gradient: Images, masks: Masks, norm: Norm) -> Images:
        """The steepest ascent direction that obeys all constraints, of about unit length."""
        direction = steepest(self.project(gradient, masks), norm)
        if not self._keeps_clamped:
            # The sign of a low-frequency gradient has high frequencies, so project again.
            direction = self.project(direction, masks)
        return direction

    def whole(self, delta: Images, masks: Masks, epsilon: float, norm: Norm) -> Images:
        """Make a perturbation of full length obey the constraints and keep about that length.

        A projection alone would shorten it: the fewer pixels may change, the more.
        """
        return epsilon * self.direction(delta, masks, norm) if self.constraints else delta

    def confine(self, delta: Images, masks: Masks, epsilon: float, norm: Norm) -> Images:
        """A perturbation near ``delta`` that obeys all constraints and lies in the ball."""
        delta = self.project(delta, masks)
        # In these cases the projection on the ball does not violate the constraints.
        if norm == "l2" or self._keeps_clamped:
            return project(delta, epsilon, norm)
        for _ in range(_ROUNDS):
            delta = self.project(delta.clamp(-epsilon, epsilon), masks)
        return _shortened(delta, epsilon)

    def settle(
        self, images: Images, delta: Images, masks: Masks, epsilon: float, norm: Norm
    ) -> Images:
        """Images near ``images + delta`` that obey constraints, lattice, ball and [0, 1]."""
        delta = self.confine(delta, masks, epsilon, norm)
        if self._tied and all(each.kind != "pattern" for each in self.constraints):
            # Clamping each channel by itself to [0, 1] would untie them.
            delta = shared_range(delta, images)
        if self.lattice:
            return store(images, delta, epsilon, norm, tied=self._tied)
        return perturb(images, delta)

    def random_start(
        self, images: Images, masks: Masks, epsilon: float, norm: Norm, generator: Randomness
    ) -> Images:
        """Images at a random point of the ball that obey the threat model."""
        delta = random_in_ball(images, epsilon, norm, generator)
        if self.constraints:
            # The projection shortens delta. Restore its length, so that starts are as far from
            # the clean image as without constraints.
            free = self.project(delta, masks)
            longer = norms(delta, norm) / norms(free, norm).clamp_min(1e-12)
            delta = free * longer.view(-1, 1, 1, 1)
        return self.settle(images, delta, masks, epsilon, norm)

    def random_direction(
        self, images: Images, masks: Masks, length: float, norm: Norm, generator: Randomness
    ) -> Images:
        """A random perturbation of the given length that obeys all constraints."""
        if not self.constraints:
            return length * random_direction(images, norm, generator)
        return self.step(random_direction(images, "l2", generator), masks, length, norm)

    @property
    def _keeps_clamped(self) -> bool:
        return all(each.keeps_clamped for each in self.constraints)

    @property
    def _tied(self) -> bool:
        return any(each.kind == "channels" for each in self.constraints)


def _shortened(delta: Images, epsilon: float) -> Images:
    """Scale perturbations into the ``linf`` ball; scaling violates no linear constraint."""
    scale = (epsilon / norms(delta, "linf").clamp_min(1e-12)).clamp_max(1.0)
    # The rounded product may exceed epsilon by one unit in the last place.
    return (delta * scale.view(-1, 1, 1, 1)).clamp(-epsilon, epsilon)
