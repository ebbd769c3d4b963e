"""Primal-dual proximal gradient descent: norm and pixels are weighed by multipliers."""

import math

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from palpate.attacks.core.checks import check_schedule
from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.proximal import shrink
from palpate.attacks.minimal.search_loop import per_image, search, valid
from palpate.attacks.minimal.shortest import largest_radius
from palpate.types import Images, Logits, LogitsFn, Masks, Norm, PerImage, Randomness

_FIRST, _SECOND = 0.9, 0.999  # decay of Adam's moments
_LAST_STEP = 0.01  # of the first, reached exponentially
_DUAL_STEP, _LAST_DUAL_STEP = 0.1, 0.01
_DUAL_MEMORY = 0.9
_LEAST_RATIO = math.log(1e-12)


def pdpgd(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    tau: float = 0.5,
    max_epsilon: float | None = None,
    steps: int = 500,
    step_size: float = 0.1,
    norm: Norm = "linf",
    levels: int | None = None,
    targeted: bool = False,
    generator: Randomness = None,  # noqa: ARG001 - all attacks are called alike
    threshold: float = 0.0,
) -> Images:
    r"""Primal-dual proximal gradient descent (Matyasko and Chau, 2021, arXiv:2106.01538).

    Seeks a saddle point of

    .. math:: (1 - \textstyle\sum_p \lambda_p) \, \|\delta\|
              + \sum_p \lambda_p \, \mathrm{softplus}(c_p)

    over the perturbation (Adam on the pixels, the proximal operator of the norm in Adam's
    metric) and multipliers (ascent of their logarithms by the sign of :math:`c_p`; a softmax
    with one further entry keeps their sum below 1), one per pixel as in the segmentation form of
    Rony et al. (2023, https://arxiv.org/abs/2206.07179).

    Binary form: :math:`c_p` is the logit, signed so that it must become negative, over the
    image's root mean square. Of all pixels only the cheapest that suffice for ``tau`` are
    constraints, chosen anew at every step; at first they are together as heavy as the norm.

    The proximal operator is solved for, together with the range of pixels. The published code
    cuts to that range first and takes five steps towards the operator: its perturbations were 1
    to 18 % longer on small networks, and as long with the steps taken to the end.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        tau: Dice score with ``masks`` that counts as success, at or below; with ``targeted`` at
            or above.
        max_epsilon: Longest perturbation that is accepted; None for any.
        steps: Updates.
        step_size: Of Adam at the first step, in units of pixel value; falls to a hundredth.
        norm: What is made small.
        levels: Values a pixel may take, 256 for those of 8-bit files: the model sees every point
            rounded to them, and so is what comes back. None does not round.
        targeted: Approach ``masks`` instead of leaving them.
        generator: Ignored; nothing is random here.
        threshold: Logits above it are foreground.

    Returns:
        For each image the shortest success on the way, detached; the clean image where that is
        one already, or where there was none.

    Raises:
        ValueError: If images, masks, budgets or logits are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        UnbrokenWarning: If some image was not broken.
        ZeroGradientWarning: If the gradient of an image not broken was zero everywhere.
    """
    bound = largest_radius(norm, max_epsilon)
    check_schedule(steps, 1, step_size)
    goal = Goal(tau, targeted, threshold)
    rule = _Saddle(goal, images, steps, step_size, norm, bound)
    return search(
        model,
        images,
        masks,
        rule,
        goal=goal,
        steps=steps,
        norm=norm,
        max_epsilon=bound,
        levels=levels,
    )


class _Saddle:
    stops = False
    held: Tensor  # sum of the multipliers of each image
    violated: Tensor  # +1 where a constraint is broken, -1 where it holds, 0 where it is none

    def __init__(
        self,
        goal: Goal,
        images: Images,
        steps: int,
        step_size: float,
        norm: Norm,
        max_epsilon: float,
    ) -> None:
        self.goal, self.norm, self.max_epsilon = goal, norm, max_epsilon
        self.steps, self.step_size, self.step = steps, step_size, 0
        self.first, self.second = torch.zeros_like(images), torch.zeros_like(images)
        self.ratios: Tensor | None = None
        self.multipliers: Tensor | None = None

    def loss(self, logits: Logits, masks: Masks) -> PerImage:
        short = self.goal.shortfall(logits, masks)
        chosen = self.goal.cheapest(short, masks, self.norm)
        if self.ratios is None:  # all constraints together as heavy as the norm
            constraints = chosen.flatten(1).sum(1).clamp_min(1).double()
            self.ratios = -per_image(constraints.log()).expand(chosen.shape)
        fresh = _softmax_with_one(self.ratios.where(chosen, -torch.inf))
        if self.multipliers is None:
            self.multipliers = fresh
        self.multipliers = _DUAL_MEMORY * self.multipliers + (1 - _DUAL_MEMORY) * fresh
        counted = self.multipliers * chosen  # those of the others are remembered, and fade
        self.held = counted.flatten(1).sum(1)
        self.violated = short.detach().sign() * chosen
        return -(F.softplus(short) * counted.to(short)).flatten(1).sum(1)

    def move(
        self,
        images: Images,
        adversarial: Images,
        gradient: Images,
        reached: Bool[Tensor, " b"],  # noqa: ARG002 - all rules are called alike
    ) -> Images:
        assert self.ratios is not None
        stride = self.step_size * _LAST_STEP ** (self.step / self.steps)
        progress = self.step / max(self.steps - 1, 1)
        self.step += 1
        slope, metric = self._adam(-gradient)
        delta = adversarial - images - stride * slope / metric
        weight = ((1 - self.held) / self.held.clamp_min(1e-12)).to(delta) * stride
        delta = shrink(delta, weight, metric, self.norm, -images, 1 - images)
        ascent = _DUAL_STEP + (_LAST_DUAL_STEP - _DUAL_STEP) * progress
        self.ratios = (self.ratios + ascent * self.violated).clamp(_LEAST_RATIO, -_LEAST_RATIO)
        return valid(images, delta, self.max_epsilon, self.norm)

    def _adam(self, gradient: Images) -> tuple[Images, Images]:
        """Mean gradient and its scale per value, both with the bias of the start taken out."""
        self.first = _FIRST * self.first + (1 - _FIRST) * gradient
        self.second = _SECOND * self.second + (1 - _SECOND) * gradient.square()
        scale = (self.second / (1 - _SECOND**self.step)).sqrt() + 1e-8
        return self.first / (1 - _FIRST**self.step), scale


def _softmax_with_one(ratios: Tensor) -> Tensor:
    """Softmax over the pixels of each image and one more entry of 0, which is left out."""
    with_norm = torch.cat([torch.zeros_like(ratios.flatten(1)[:, :1]), ratios.flatten(1)], 1)
    return with_norm.softmax(1)[:, 1:].view_as(ratios)
