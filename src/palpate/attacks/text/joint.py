"""Joint attack on image and text, in alternation."""

import inspect
from functools import partial
from typing import NamedTuple

import torch

from palpate.attacks.text.attack import TextAttack, attack_text
from palpate.attacks.text.prompted import Prompted
from palpate.attacks.text.source import PromptSource
from palpate.attacks.text.view import View
from palpate.types import Attack, Images, Masks


class Pair(NamedTuple):
    """An attacked image, its attacked prompt, and the DSC and loss of both together."""

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
    """Attack an image and its prompt in alternation.

    First, the text alone and the image alone are attacked. Then, ``rounds`` times, the image is
    attacked with the current worst text, and the text is attacked on the resulting image. The pair
    with the lowest DSC of all is returned, so the joint attack is at least as strong as either
    attack alone with the same random numbers.

    Args:
        model: Model with separate encoding of image and text.
        images: One clean image ``(1, c, h, w)`` in [0, 1].
        masks: Its mask.
        source: The texts to start from.
        image_attack: Attack with its budget bound, e.g. ``partial(pgd, epsilon=8 / 255)``.
        text_attack: Attack that picks the worst of its texts. Attacks on the condition are refused.
        rounds: Number of alternations, at least 1.
        threshold: Logit above which a pixel is foreground.
        generator: Generator on the CPU. Every attack gets a copy, so it draws the same numbers as
            if it were run alone.
        image_generator: Generator for attacks on the image, if it should differ.

    Returns:
        The pair; None if the text attack does not apply.

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

    def attack_image(prompt: str) -> Images:
        accepted = inspect.signature(image_attack).parameters
        own = generator if image_generator is None else image_generator
        offered = {"generator": [_copy(own)], "threshold": threshold}
        given = {k: v for k, v in offered.items() if k in accepted}
        return image_attack(partial(model, prompts=[prompt]), images, masks, **given)

    def try_texts(attacked: Images, prompt: str | None) -> list[Pair]:
        """Score the image with the worst text found for it, and with the prompt if given."""
        view = View(model, attacked, masks, threshold=threshold)
        worst = attack_text(text_attack, view, source, generator=_copy(generator))
        pairs = [] if worst is None else [Pair(attacked, worst.prompt, worst.dsc, worst.loss)]
        if prompt is not None:
            harm = view.harm([prompt])
            pairs.append(Pair(attacked, prompt, float(harm.dsc[0]), float(harm.loss[0])))
        return pairs

    tried = try_texts(images, None)
    if not tried:
        return None
    worst_text = tried[0].prompt
    tried += try_texts(attack_image(source.prompt), source.prompt)
    for _ in range(rounds):  # each image is attacked anew from the clean one
        pairs = try_texts(attack_image(worst_text), worst_text)
        worst_text = pairs[0].prompt
        tried += pairs
    # The lowest DSC; of equal ones the highest loss.
    return max(tried, key=lambda pair: (-pair.dsc, pair.loss))


def _copy(generator: torch.Generator) -> torch.Generator:
    copy = torch.Generator()
    copy.set_state(generator.get_state())
    return copy
