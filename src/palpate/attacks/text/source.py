"""The texts that are known for an image before an attack."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PromptSource:
    """The texts that an attack may start from or use.

    Attributes:
        prompt: The prompt, which describes what the mask shows.
        own: All texts that describe the same object in the same image: its prompt levels.
        beside: Texts about other objects in the same image.
        others: Texts of other images. Texts that are also in ``own`` are ignored.
    """

    prompt: str
    own: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
