"""The result of one check of a model or an attack, as printed by `palpate models check`."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Attributes:
        name: Name of the check.
        status: ``"fail"`` if results of attacks would be wrong, ``"warn"`` if they may be wrong.
        seen: One sentence with the measured numbers.
    """

    name: str
    status: Status
    seen: str
