"""Evaluation protocols: how an attacked image is stored, prompted and scored.

The sound protocol scores the image returned by the attack, in memory, with the prompt that was
attacked. Published studies saved images to files and scored them with a newly drawn prompt. Each
of these choices is a separate switch, so that its effect can be measured on its own. Choices
inside the attack (normalised epsilon, no clamp, fixed step) are options of
:func:`palpate.attacks.published_pgd`.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias, get_args, get_type_hints

Prompts: TypeAlias = Literal["fixed", "redrawn"]
Storage: TypeAlias = Literal["float", "png", "jpeg", "named"]
Naming: TypeAlias = Literal["sample", "image"]
Seeding: TypeAlias = Literal["sample", "none"]
Truth: TypeAlias = Literal["binary", "soft"]


@dataclass(frozen=True)
class Protocol:
    """The choices of an evaluation protocol; the defaults are the sound ones.

    Attributes:
        name: Column of every row; rows of different protocols are never put into one table.
        prompts: ``fixed``: a sample keeps its prompt. ``redrawn``: attack and scoring each draw a
            new prompt, at every epsilon, so that the attacker does not know the prompt used for
            scoring.
        storage: Form in which an attacked image is scored. ``float``: as returned by the attack.
            ``png``: rounded to 8 bits. ``jpeg``: also compressed. ``named``: JPEG or PNG,
            according to the extension of the image file. Clean images are never converted.
        quality: JPEG quality, 1 to 95.
        naming: ``sample``: every sample has a file of its own. ``image``: a file is named after
            its image, so that if an image shows several structures, the attack on the last one is
            scored for all of them.
        seeding: ``sample``: random numbers depend on the seed and the sample only. ``none``: they
            differ from run to run.
        truth: ``binary``: masks are thresholded at half of their range. ``soft``: grey values of
            masks are kept in the loss of the attack and in DSC and IoU.

    Raises:
        ValueError: If a choice is unknown or the quality is out of range.
    """

    name: str = "sound"
    prompts: Prompts = "fixed"
    storage: Storage = "float"
    quality: int = 75
    naming: Naming = "sample"
    seeding: Seeding = "sample"
    truth: Truth = "binary"

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for field in fields(self):
            known = get_args(kinds[field.name])
            if known and getattr(self, field.name) not in known:
                raise ValueError(
                    f"Expected {field.name} of a protocol to be one of {', '.join(known)}, got "
                    f"{getattr(self, field.name)!r}."
                )
        if not 1 <= self.quality <= 95:
            raise ValueError(f"Expected a JPEG quality from 1 to 95, got {self.quality}.")

    @property
    def is_sound(self) -> bool:
        """Whether all choices are the sound ones, whatever the name."""
        return replace(self, name=SOUND.name) == SOUND

    def switched(self, **changes: Any) -> "Protocol":
        """A copy with some choices changed; the changes become part of its name.

        >>> PAPER.switched(storage="png").name
        'paper, storage=png'
        """
        told = [f"{name}={value}" for name, value in changes.items()]
        return replace(self, name=", ".join([self.name, *told]), **changes)


SOUND = Protocol()
PAPER = Protocol(
    "paper", prompts="redrawn", storage="named", naming="image", seeding="none", truth="soft"
)
