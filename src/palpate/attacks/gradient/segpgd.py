"""SegPGD: projected gradient descent on the balanced cross-entropy."""

from palpate.attacks.gradient.pgd import Keep, pgd
from palpate.attacks.losses import SegPGD
from palpate.attacks.threats import ANYWHERE, Within
from palpate.types import Images, LogitsFn, Masks, Norm, Randomness


def segpgd(
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
    """SegPGD (Gu et al., 2022, https://arxiv.org/abs/2207.12391), by a name of its own.

    :func:`palpate.attacks.pgd` with :class:`palpate.attacks.losses.SegPGD` as its loss, and in
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
        loss=SegPGD(),
        targeted=targeted,
        within=within,
        generator=generator,
        threshold=threshold,
        keep=keep,
        early_stop=early_stop,
    )
