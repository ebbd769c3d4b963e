"""What there is to say about an image, before anybody attacks it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PromptSource:
    """The texts that an attack may start from or take.

    Attributes:
        prompt: What the model is asked for; the mask shows that.
        own: All texts that mean the same thing in the same image: its prompt levels.
        beside: Texts about other things in the same image.
        others: Texts of other images; those among ``own`` are never taken.
    """

    prompt: str
    own: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
