"""Evaluation protocols: each choice between attack and score is a switch.

The sound protocol scores the image that the attack returned, in memory, with the prompt that was
attacked. Published studies wrote images to files and read them again with a newly drawn prompt;
each of these choices is a switch, so that its effect can be measured by itself. Choices inside the
attack (normalised epsilon, no clamp, fixed step) are options of
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
        prompts: ``fixed``: a sample keeps its prompt. ``redrawn``: attack and score each draw
            another, at every strength again, so that the attacker does not know what is asked.
        storage: What an attacked image is before it is scored: ``float`` as returned; ``png``
            rounded to 8 bits; ``jpeg`` compressed, too; ``named`` JPEG or PNG as the image file's
            extension says. Clean images are scored as they are.
        quality: Of the JPEG, 1 to 95.
        naming: ``image``: a file is called like its image, so that of several structures in one
            image the last one's attack is scored for all. ``sample``: each has its own.
        seeding: ``sample``: what is random depends on the seed and the sample alone. ``none``: it
            differs from run to run.
        truth: ``soft``: grey values of masks stay what they are, in the loss of the attack and in
            DSC and IoU. ``binary``: cut at half of their range.
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
