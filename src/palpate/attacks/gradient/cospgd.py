"""CosPGD: projected gradient descent on the cosine-weighted cross-entropy."""

from palpate.attacks.gradient.pgd import Keep, pgd
from palpate.attacks.losses import CosPGD
from palpate.attacks.threats import ANYWHERE, Within
from palpate.types import Images, LogitsFn, Masks, Norm, Randomness


def cospgd(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    steps: int = 40,
    step_size: float | None = None,
    random_start: bool = True,
    restarts: int = 1,
    norm: Norm = "linf",
    targeted: bool = False,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
    keep: Keep = "dice",
    early_stop: bool = False,
) -> Images:
    """CosPGD (Agnihotri et al., 2024, https://arxiv.org/abs/2302.02213), by a name of its own.

    :func:`palpate.attacks.pgd` with :class:`palpate.attacks.losses.CosPGD` as its loss, and in
    everything else, down to its arguments and errors, that attack.
    """
    return pgd(
        model,
        images,
        masks,
        epsilon=epsilon,
        steps=steps,
        step_size=step_size,
        random_start=random_start,
        restarts=restarts,
        norm=norm,
        loss=CosPGD(),
        targeted=targeted,
        within=within,
        generator=generator,
        threshold=threshold,
        keep=keep,
        early_stop=early_stop,
    )
