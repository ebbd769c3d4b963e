"""The result of one check of a model or an attack, as `palpate models check` prints it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Attributes:
        name: Of the check.
        status: ``"fail"`` where results of attacks would be wrong, ``"warn"`` where they may be.
        seen: One sentence with the numbers that were measured.
    """

    name: str
    status: Status
    seen: str
