"""What one constraint on a perturbation has to tell."""

from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from palpate.types import Images, Masks

Kind: TypeAlias = Literal["place", "channels", "pattern"]


@runtime_checkable
class Constraint(Protocol):
    """A linear subspace of perturbations, for each image its own.

    Attributes:
        kind: ``place``: some pixels may not change; ``channels``: all channels of a pixel
            change by the same value; ``pattern``: pixels change together.
        keeps_clamped: Whether a perturbation that keeps to it still does when each of its values
            is clamped to the same interval.
    """

    kind: ClassVar[Kind]
    keeps_clamped: ClassVar[bool]

    def project(self, delta: Images, masks: Masks) -> Images:
        """The nearest perturbation that keeps to the constraint.

        Args:
            delta: Any perturbation, or a gradient.
            masks: The masks that the attack was given.
        """
        ...
