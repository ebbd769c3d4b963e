"""A threat model: constraints that hold together, in a ball, on valid images."""

import math
from dataclasses import dataclass

from palpate.attacks.threats.channels import shared_range
from palpate.attacks.threats.constraint import Constraint
from palpate.attacks.threats.lattice import GREYS, is_stored, store, whole_step
from palpate.geometry import norms, perturb, project, random_direction, random_in_ball, steepest
from palpate.types import Images, Masks, Norm, Randomness

_SLACK = {"linf": 1e-4, "l2": 1e-6}  # of a grey level: 8 / 255 * 255 may fall short of 8
_ROUNDS = 8  # of fitting a pattern into a cube; see tests/attacks/test_threat_optimum.py


@dataclass(frozen=True)
class Threat:
    """What an attack asks instead of the geometry of the bare ball.

    Its images obey the threat model, the ball and [0, 1] at once. Places, tied channels and the
    lattice hold on the returned image, exactly. A pattern, and what is combined with it, holds for
    the perturbation before black and white cut it off, as a display would: where a camera leaves
    its corners black, hardly any slow wave stays within [0, 1].

    With neither constraints nor lattice everything is as it would be without a threat model, to
    the last bit.

    Attributes:
        constraints: All of them hold.
        lattice: Whether every image is one that 8 bits a value can store.
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
        """Whether nothing is asked but the ball and [0, 1]."""
        return not (self.constraints or self.lattice)

    def least(self, images: Images, norm: Norm) -> float:
        """The least radius with another image in reach: on the lattice one grey level, else 0.

        Where channels are tied, a grey level in all of them at once.
        """
        if not self.lattice:
            return 0.0
        channels = images.shape[1] if self._tied and norm == "l2" else 1
        return math.sqrt(channels) / GREYS

    def check(self, images: Images, epsilon: float, norm: Norm) -> None:
        """Raise ``ValueError`` where the lattice makes no sense of images or epsilon."""
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
        """The nearest perturbation, or gradient, that keeps to all constraints."""
        for constraint in self.constraints:
            delta = constraint.project(delta, masks)
        return delta

    def step(self, gradient: Images, masks: Masks, length: float, norm: Norm) -> Images:
        """A step up a gradient that keeps to all constraints.

        Its length is ``length``; under a low-frequency ``linf`` threat about that, and on the
        lattice a whole number of grey levels.
        """
        direction = self.direction(gradient, masks, norm)
        if self.lattice:
            return whole_step(direction, length, norm, tied=self._tied)
        return length * direction

    def direction(self, gradient: Images, masks: Masks, norm: Norm) -> Images:
        """The steepest direction that keeps to all constraints, of about unit length."""
        direction = steepest(self.project(gradient, masks), norm)
        if not self._keeps_clamped:
            direction = self.project(direction, masks)  # the signs of a wave are not a wave
        return direction

    def whole(self, delta: Images, masks: Masks, epsilon: float, norm: Norm) -> Images:
        """A perturbation that uses the whole radius, turned into one that also keeps to this.

        Projected only, it would be the shorter the fewer pixels are free.
        """
        return epsilon * self.direction(delta, masks, norm) if self.constraints else delta

    def confine(self, delta: Images, masks: Masks, epsilon: float, norm: Norm) -> Images:
        """A perturbation near ``delta`` that keeps to all constraints and to the ball."""
        delta = self.project(delta, masks)
        if norm == "l2" or self._keeps_clamped:
            return project(delta, epsilon, norm)
        for _ in range(_ROUNDS):
            delta = self.project(delta.clamp(-epsilon, epsilon), masks)
        return _shortened(delta, epsilon)

    def settle(
        self, images: Images, delta: Images, masks: Masks, epsilon: float, norm: Norm
    ) -> Images:
        """Valid images near ``images + delta`` that obey the whole threat model."""
        delta = self.confine(delta, masks, epsilon, norm)
        if self._tied and all(each.kind != "pattern" for each in self.constraints):
            delta = shared_range(delta, images)
        if self.lattice:
            return store(images, delta, epsilon, norm, tied=self._tied)
        return perturb(images, delta)

    def random_start(
        self, images: Images, masks: Masks, epsilon: float, norm: Norm, generator: Randomness
    ) -> Images:
        """Images at a random place of the ball."""
        delta = random_in_ball(images, epsilon, norm, generator)
        if self.constraints:
            # A projection shortens; so lengthened, starts lie as far apart as in the bare ball.
            free = self.project(delta, masks)
            longer = norms(delta, norm) / norms(free, norm).clamp_min(1e-12)
            delta = free * longer.view(-1, 1, 1, 1)
        return self.settle(images, delta, masks, epsilon, norm)

    def random_direction(
        self, images: Images, masks: Masks, length: float, norm: Norm, generator: Randomness
    ) -> Images:
        """A random perturbation that uses the whole length."""
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
    """Scaled into the cube, which keeps to any linear constraint."""
    scale = (epsilon / norms(delta, "linf").clamp_min(1e-12)).clamp_max(1.0)
    # One rounding of the product may leave the cube by its last digit.
    return (delta * scale.view(-1, 1, 1, 1)).clamp(-epsilon, epsilon)
