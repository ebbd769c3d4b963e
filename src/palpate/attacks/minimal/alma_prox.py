"""ALMA-prox: augmented Lagrangian with one constraint per pixel, and a proximal step."""

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.checks import check_schedule
from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.proximal import proximal_operator
from palpate.attacks.minimal.search_loop import per_image, project_to_valid, search
from palpate.attacks.minimal.shortest import largest_radius
from palpate.types import Images, Logits, LogitsFn, Masks, Norm, PerImage, Randomness

_STEPS = {"linf": 0.001, "l2": 0.005}  # default step size by norm
_LAST_STEP = 0.1  # last step size as a fraction of the first
_MULTIPLIER, _PENALTY = 1.0, 0.01  # initial values
_CHECK = 10  # steps between two checks of whether a constraint has improved
_IMPROVED = 0.95  # a constraint has improved if it fell to this fraction of its earlier value
_RAISE = 2.0  # factor of the penalty parameter where a constraint has not improved
_MEMORY = 0.8  # decay of the running means of multipliers and squared gradient
_LEAST_SCALE, _SCALE_CHANGE = 0.1, 0.02  # bound and relative change of the constraints' scale
_LEAST_METRIC = 1e-8  # keeps the division by the metric finite


def alma_prox(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    tau: float = 0.5,
    max_epsilon: float | None = None,
    steps: int = 500,
    step_size: float | None = None,
    norm: Norm = "linf",
    levels: int | None = None,
    targeted: bool = False,
    generator: Randomness = None,  # noqa: ARG001 - every attack accepts a generator
    threshold: float = 0.0,
) -> Images:
    r"""ALMA-prox (Rony et al., 2023, https://arxiv.org/abs/2206.07179).

    Minimises :math:`\|\delta\| + \sum_p P(w c_p, \rho_p, \mu_p)` by alternating a gradient step on
    the penalties in the metric of RMSprop and the proximal operator of the norm in the same
    metric. Each pixel has a multiplier :math:`\mu_p`, the running mean of the derivative of its
    penalty, and a penalty parameter :math:`\rho_p`, which doubles if the constraint neither held
    nor improved in ten steps. The scale :math:`w` of all constraints of an image decreases by 2 %
    per step while the goal is reached, down to 0.1, and increases while it is not, up to 1.

    Binary form: the difference-of-logits ratio of the paper needs three classes. Here :math:`c_p`
    is the logit, with the sign that makes it negative on success, divided by the root mean square
    of the image's logits. Only the cheapest pixels that suffice for ``tau`` are constraints; they
    are selected anew at every step. The paper drops the hardest 1 % of the pixels instead. The
    gradient of a violated constraint is the derivative of its penalty; in the authors' code the
    first term of this derivative is :math:`\mu c` instead of :math:`\mu`, so its steps differ.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        tau: An attack succeeds if the Dice score with ``masks`` is at most this (targeted: at
            least this), in [0, 1].
        max_epsilon: Largest perturbation that is accepted, in units of pixel value; None for any.
        steps: Number of updates.
        step_size: Step size in units of pixel value; decays towards a tenth after the first
            success. None is 0.001 as published, or 0.005 in L2, where single pixels change more.
        norm: Norm of the perturbation to minimise; L-infinity in the paper.
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
    step_size = _STEPS[norm] if step_size is None else step_size
    rule = _AlmaProxRule(goal, images, masks, steps, step_size, norm, bound)
    return search(model, images, masks, rule, steps=steps, levels=levels)


class _AlmaProxRule:
    """The loss and update of ALMA-prox, with its state for each pixel and image."""

    stops = False

    def __init__(
        self,
        goal: Goal,
        images: Images,
        masks: Masks,
        steps: int,
        step_size: float,
        norm: Norm,
        max_epsilon: float,
    ) -> None:
        self.goal, self.norm, self.max_epsilon = goal, norm, max_epsilon
        self.steps, self.step_size, self.step = steps, step_size, 0
        pixels = images.new_zeros(masks.shape)
        self.multipliers, self.penalties = pixels + _MULTIPLIER, pixels + _PENALTY
        self.before, self.held = pixels, torch.zeros_like(masks)
        self.squares = torch.zeros_like(images)
        self.scale = images.new_ones(len(images))
        self.found_at = images.new_full((len(images),), steps // 2)

    def loss(self, logits: Logits, masks: Masks) -> PerImage:
        self._rescale(self.goal.is_reached(logits, masks))
        short = self.goal.shortfall(logits, masks)
        chosen = self.goal.cheapest_pixels(short, masks, self.norm)
        constraints = short * per_image(self.scale)
        self._update(constraints.detach(), chosen)
        value, _ = _penalty(constraints, self.penalties, self.multipliers)
        return -(value * chosen).flatten(1).sum(1)  # the search ascends; penalties are minimised

    def move(
        self,
        images: Images,
        adversarial: Images,
        gradient: Images,
        reached: Bool[Tensor, " b"],  # noqa: ARG002 - part of the protocol of update rules
    ) -> Images:
        stride = self._stride()
        self.step += 1
        self.squares = _MEMORY * self.squares + (1 - _MEMORY) * gradient.square()
        metric = (self.squares / (1 - _MEMORY**self.step)).sqrt().clamp_min(_LEAST_METRIC)
        delta = adversarial - images + per_image(stride) * gradient / metric
        delta = proximal_operator(delta, stride, metric, self.norm, -images, 1 - images)
        return project_to_valid(images, delta, self.max_epsilon, self.norm)

    def _rescale(self, reached: Bool[Tensor, " b"]) -> None:
        """Decrease the scale of the constraints while the goal is reached, else increase it."""
        change = torch.where(reached, 1 + _SCALE_CHANGE, 1 - _SCALE_CHANGE)
        self.scale = (self.scale / change).clamp(_LEAST_SCALE, 1.0)
        # The step size decays from the first success, or else from the middle of the run.
        first = reached & (self.step < self.found_at)
        self.found_at = torch.where(first, float(self.step), self.found_at)

    def _update(self, constraints: Logits, chosen: Masks) -> None:
        """Update the penalty parameters and multipliers from the constraints at this point."""
        self.held = self.held | (constraints <= 0)
        if self.step == 0:
            self.before = constraints
            return
        if (self.step + 1) % _CHECK == 0:
            improved = constraints * chosen <= _IMPROVED * self.before
            worse = ~(self.held | improved)
            self.penalties = torch.where(worse, _RAISE * self.penalties, self.penalties)
            self.before, self.held = constraints, torch.zeros_like(self.held)
        _, slope = _penalty(constraints, self.penalties, self.multipliers)
        fresh = torch.where(chosen, slope, torch.zeros_like(slope))
        mixed = _MEMORY * self.multipliers + (1 - _MEMORY) * fresh
        self.multipliers = mixed.clamp(1e-12, 1.0)

    def _stride(self) -> PerImage:
        """The step size: constant until the first success, then decreasing hyperbolically."""
        left = (self.steps - self.found_at).clamp_min(1) * _LAST_STEP / (1 - _LAST_STEP)
        since = (self.step - self.found_at).clamp_min(0)
        return self.step_size * left / (since + left)


def _penalty(constraint: Logits, penalty: Logits, multiplier: Logits) -> tuple[Logits, Logits]:
    """The penalty-Lagrangian of the paper and its derivative, which equals the multiplier at 0."""
    over, under = constraint.clamp_min(0), constraint.clamp_max(0)
    bend = 1 - penalty.clamp_min(1) * under
    value = torch.where(
        constraint >= 0,
        multiplier * over + multiplier * penalty * over**2 + penalty**2 * over**3 / 6,
        multiplier * under / bend,
    )
    slope = torch.where(
        constraint >= 0,
        multiplier + 2 * multiplier * penalty * over + penalty**2 * over**2 / 2,
        multiplier / bend**2,
    )
    return value, slope
