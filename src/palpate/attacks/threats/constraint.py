"""The interface of a constraint on perturbations."""

from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from palpate.types import Images, Masks

Kind: TypeAlias = Literal["place", "channels", "pattern"]


@runtime_checkable
class Constraint(Protocol):
    """A linear subspace of perturbations, which may differ between images.

    Attributes:
        kind: ``place``: some pixels may not change; ``channels``: all channels of a pixel
            change by the same value; ``pattern``: pixels do not change independently.
        keeps_clamped: Whether clamping all values of an allowed perturbation to one interval
            gives an allowed perturbation.
    """

    kind: ClassVar[Kind]
    keeps_clamped: ClassVar[bool]

    def project(self, delta: Images, masks: Masks) -> Images:
        """Project on the subspace: return the nearest perturbation that is allowed.

        Args:
            delta: Perturbations or gradients.
            masks: Masks given to the attack.
        """
        ...
