"""Image and text attacked together: each in turn against the other's worst."""

import inspect
from functools import partial
from typing import NamedTuple

import torch

from palpate.attacks.text.attack import TextAttack, press_text
from palpate.attacks.text.prompted import Prompted
from palpate.attacks.text.source import PromptSource
from palpate.attacks.text.view import View
from palpate.types import Attack, Images, Masks


class Pair(NamedTuple):
    """An attacked image, the text that goes with it, and what both do together."""

    images: Images
    prompt: str
    dsc: float
    loss: float


def joint(
    model: Prompted,
    images: Images,
    masks: Masks,
    source: PromptSource,
    *,
    image_attack: Attack,
    text_attack: TextAttack,
    rounds: int = 2,
    threshold: float = 0.0,
    generator: torch.Generator,
    image_generator: torch.Generator | None = None,
) -> Pair | None:
    """Attack an image and its text in turns.

    The text alone and the image alone are tried first. Then, ``rounds`` times, the image is
    attacked under the worst text so far found for it, and the text anew on the image that this
    gave. Of all pairs seen on the way the one of the lowest DSC is kept, so that both together
    are never weaker than either alone with the same random numbers.

    Args:
        model: Takes the image and the text apart.
        images: One clean image ``(1, c, h, w)``.
        masks: Its mask.
        source: The texts to start from.
        image_attack: Its budget bound: ``partial(pgd, epsilon=8 / 255)``.
        text_attack: Chooses the worst of its texts; not an attack on the condition.
        rounds: How often both take their turn.
        threshold: Logit above which a pixel is foreground.
        generator: Every attack on the way gets a copy, and so the numbers that it would get alone.
        image_generator: In its place for attacks on the image.

    Returns:
        The pair, or None where the attack on the text does not apply.

    Raises:
        ValueError: If rounds is not positive, or the text attack does not choose a worst text.
    """
    if rounds < 1:
        raise ValueError(f"Expected rounds >= 1, got {rounds}.")
    if text_attack.pick != "worst" or text_attack.norm != "text":
        raise ValueError(
            "Expected an attack that picks the worst of its texts, got one that picks the "
            f"{text_attack.pick} in norm {text_attack.norm!r}."
        )

    def press_image(prompt: str) -> Images:
        accepted = inspect.signature(image_attack).parameters
        own = generator if image_generator is None else image_generator
        offered = {"generator": [_copy(own)], "threshold": threshold}
        given = {k: v for k, v in offered.items() if k in accepted}
        return image_attack(partial(model, prompts=[prompt]), images, masks, **given)

    def try_texts(pressed: Images, prompt: str | None) -> list[Pair]:
        """The image with a text, if one is given, and with the worst there is for it."""
        view = View(model, pressed, masks, threshold=threshold)
        worst = press_text(text_attack, view, source, generator=_copy(generator))
        pairs = [] if worst is None else [Pair(pressed, worst.prompt, worst.dsc, worst.loss)]
        if prompt is not None:
            harm = view.harm([prompt])
            pairs.append(Pair(pressed, prompt, float(harm.dsc[0]), float(harm.loss[0])))
        return pairs

    tried = try_texts(images, None)
    if not tried:
        return None
    worst_text = tried[0].prompt
    tried += try_texts(press_image(source.prompt), source.prompt)
    for _ in range(rounds):
        pairs = try_texts(press_image(worst_text), worst_text)
        worst_text = pairs[0].prompt
        tried += pairs
    return max(tried, key=lambda pair: (-pair.dsc, pair.loss))


def _copy(generator: torch.Generator) -> torch.Generator:
    copy = torch.Generator()
    copy.set_state(generator.get_state())
    return copy
