"""Primal-dual proximal gradient descent (PDPGD)."""

import math

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from palpate.attacks.core.checks import check_schedule
from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.proximal import proximal_operator
from palpate.attacks.minimal.search_loop import per_image, project_to_valid, search
from palpate.attacks.minimal.shortest import largest_radius
from palpate.types import Images, Logits, LogitsFn, Masks, Norm, PerImage, Randomness

_FIRST, _SECOND = 0.9, 0.999  # decay of Adam's moments
_LAST_STEP = 0.01  # last step size as a fraction of the first; decays exponentially
_DUAL_STEP, _LAST_DUAL_STEP = 0.1, 0.01  # step size of the multipliers, first and last
_DUAL_MEMORY = 0.9  # decay of the running mean of the multipliers
_LEAST_RATIO = math.log(1e-12)  # keeps the softmax of the multipliers away from 0


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
    generator: Randomness = None,  # noqa: ARG001 - every attack accepts a generator
    threshold: float = 0.0,
) -> Images:
    r"""Primal-dual proximal gradient descent (Matyasko and Chau, 2021, arXiv:2106.01538).

    Seeks a saddle point of

    .. math:: (1 - \textstyle\sum_p \lambda_p) \, \|\delta\|
              + \sum_p \lambda_p \, \mathrm{softplus}(c_p)

    over the perturbation and the multipliers :math:`\lambda`. The perturbation is updated by Adam
    and the proximal operator of the norm in Adam's metric. The logarithms of the multipliers
    ascend by the sign of :math:`c_p`; a softmax with one additional entry keeps their sum below 1.
    There is one multiplier per pixel, as in the segmentation form of Rony et al. (2023,
    https://arxiv.org/abs/2206.07179).

    Binary form: :math:`c_p` is the logit, with the sign that makes it negative on success, divided
    by the root mean square of the image's logits. Only the cheapest pixels that suffice for ``tau``
    are constraints; they are selected anew at every step. At the start their total weight equals
    that of the norm.

    The proximal operator is solved exactly, under the bounds of the pixel range. The published code
    clips to this range first and approximates the operator by five iterations. On small networks
    its perturbations were 1 to 18 % longer, and equally long with more iterations.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        tau: An attack succeeds if the Dice score with ``masks`` is at most this (targeted: at
            least this), in [0, 1].
        max_epsilon: Largest perturbation that is accepted, in units of pixel value; None for any.
        steps: Number of updates.
        step_size: Step size of Adam at the first step, in units of pixel value; decays to a
            hundredth of that.
        norm: Norm of the perturbation to minimise.
        levels: Number of values a pixel may take, 256 for 8-bit images. The model sees every point
            rounded to them, and a rounded point is returned. None does not round.
        targeted: Approach ``masks`` instead of leaving them.
        generator: Ignored; the attack is deterministic.
        threshold: Logits above it are foreground.

    Returns:
        For each image the shortest success found, detached; the clean image if it is a success
        already, or if none was found.

    Raises:
        ValueError: If images, masks, budgets or logits are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        UnbrokenWarning: If no success was found for some image.
        ZeroGradientWarning: If the gradient of an image was zero everywhere before a success.
    """
    bound = largest_radius(norm, max_epsilon)
    check_schedule(steps, 1, step_size)
    goal = Goal(tau, targeted, threshold)
    rule = _PdpgdRule(goal, images, steps, step_size, norm, bound)
    return search(model, images, masks, rule, steps=steps, levels=levels)


class _PdpgdRule:
    """The loss and update of PDPGD, with its multipliers and the moments of Adam."""

    stops = False
    held: Tensor  # sum of the multipliers of each image
    violated: Tensor  # +1 where a constraint is violated, -1 where it holds, 0 at other pixels

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
        chosen = self.goal.cheapest_pixels(short, masks, self.norm)
        if self.ratios is None:  # the total weight of the constraints equals that of the norm
            constraints = chosen.flatten(1).sum(1).clamp_min(1).double()
            self.ratios = -per_image(constraints.log()).expand(chosen.shape)
        fresh = _softmax_with_one(self.ratios.where(chosen, -torch.inf))
        if self.multipliers is None:
            self.multipliers = fresh
        self.multipliers = _DUAL_MEMORY * self.multipliers + (1 - _DUAL_MEMORY) * fresh
        counted = self.multipliers * chosen  # those of other pixels decay, but do not count
        self.held = counted.flatten(1).sum(1)
        self.violated = short.detach().sign() * chosen
        return -(F.softplus(short) * counted.to(short)).flatten(1).sum(1)

    def move(
        self,
        images: Images,
        adversarial: Images,
        gradient: Images,
        reached: Bool[Tensor, " b"],  # noqa: ARG002 - part of the protocol of update rules
    ) -> Images:
        assert self.ratios is not None
        stride = self.step_size * _LAST_STEP ** (self.step / self.steps)
        progress = self.step / max(self.steps - 1, 1)
        self.step += 1
        slope, metric = self._adam(-gradient)
        delta = adversarial - images - stride * slope / metric
        weight = ((1 - self.held) / self.held.clamp_min(1e-12)).to(delta) * stride
        delta = proximal_operator(delta, weight, metric, self.norm, -images, 1 - images)
        ascent = _DUAL_STEP + (_LAST_DUAL_STEP - _DUAL_STEP) * progress
        self.ratios = (self.ratios + ascent * self.violated).clamp(_LEAST_RATIO, -_LEAST_RATIO)
        return project_to_valid(images, delta, self.max_epsilon, self.norm)

    def _adam(self, gradient: Images) -> tuple[Images, Images]:
        """Adam's running mean of the gradient and its scale, both with bias correction."""
        self.first = _FIRST * self.first + (1 - _FIRST) * gradient
        self.second = _SECOND * self.second + (1 - _SECOND) * gradient.square()
        scale = (self.second / (1 - _SECOND**self.step)).sqrt() + 1e-8
        return self.first / (1 - _FIRST**self.step), scale


def _softmax_with_one(ratios: Tensor) -> Tensor:
    """Softmax over the pixels of each image and one additional entry, 0, for the norm.

    The additional entry is dropped, so the multipliers of an image sum to less than 1.
    """
    with_norm = torch.cat([torch.zeros_like(ratios.flatten(1)[:, :1]), ratios.flatten(1)], 1)
    return with_norm.softmax(1)[:, 1:].view_as(ratios)
