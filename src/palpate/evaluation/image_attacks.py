"""Attacks on images at given radii: how they are listed, called and checked.

An attack is a function that takes a model, images and masks and returns images. Further arguments
(``epsilon``, ``generator``, ``threshold``, ``tau``, ...) are passed if its signature names them.
The returned images are checked: one outside the epsilon ball or outside [0, 1] raises an error.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any, TypeAlias

import torch

from palpate import geometry
from palpate.evaluation.results.rows import CLEAN
from palpate.types import Attack, Images, Logits, LogitsFn, Masks

Surrogate: TypeAlias = Callable[..., Logits]

NORMALISED = "normalised"  # L-infinity after dividing each channel by the model's std
_ROUNDING = 2.0**-22  # float32 rounding error of values up to 1, with margin for a few operations


@dataclass(frozen=True)
class AttackAtRadius:
    """An attack on images at one radius.

    Attributes:
        name: Name of the attack in the rows.
        attack: The attack function.
        norm: ``"linf"``, ``"l2"``, :data:`NORMALISED`, or ``"none"`` for the clean images.
        epsilon: Radius of the ball in units of pixel value in [0, 1], or of the normalised image
            for :data:`NORMALISED`.
        minimal: Whether the attack searches for the smallest perturbation; ``epsilon`` is then the
            largest norm that it may return.
    """

    name: str
    attack: Attack
    norm: str
    epsilon: float
    minimal: bool = False

    @property
    def stays_valid(self) -> bool:
        """Whether the attack must return pixels in [0, 1]."""
        return bool(_parameters(self.attack).get("clamp", True))

    def __str__(self) -> str:
        if self.minimal:
            return f"{self.name} {self.norm} smallest"
        # Only L-infinity radii correspond to grey levels of an 8-bit image.
        strength = f"{self.epsilon * 255:g}/255" if self.norm == "linf" else f"{self.epsilon:g}"
        return self.name if self.name == CLEAN else f"{self.name} {self.norm} {strength}"

    def with_surrogate(self, change: Callable[[Surrogate], Surrogate]) -> "AttackAtRadius":
        """The same attack with its bound surrogate model, if it has one, replaced.

        Args:
            change: Maps the surrogate to its replacement.
        """
        bound = _bound(self.attack).get("surrogate")
        if bound is None:
            return self
        return replace(self, attack=partial(self.attack, surrogate=change(bound)))

    def run(
        self,
        model: LogitsFn,
        images: Images,
        masks: Masks,
        *,
        generators: Sequence[torch.Generator],
        threshold: float,
        tau: float = 0.5,
        **offered: Any,
    ) -> Images:
        """Run the attack without checking the result; see :func:`check`.

        ``generators``, ``threshold``, ``tau`` and ``offered`` are passed only to an attack whose
        signature names them.

        Args:
            model: Maps images to logits; prompts are already bound.
            images: Clean images, shape ``(b, 3, h, w)``, values in [0, 1].
            masks: Ground truth, shape ``(b, 1, h, w)``.
            generators: One random generator per image, passed as ``generator``.
            threshold: Logit above which a pixel is foreground.
            tau: DSC at or below which an attack has succeeded; not passed if the attack has a
                ``tau`` bound.
            offered: Further arguments, such as the model's ``std`` or the ``truth`` with grey
                values.

        Returns:
            The return value of the attack.
        """
        radius = {"max_epsilon" if self.minimal else "epsilon": self.epsilon}
        offered |= radius | {"generator": generators, "threshold": threshold}
        if "tau" not in _bound(self.attack):
            offered["tau"] = tau
        accepted = {k: v for k, v in offered.items() if k in _parameters(self.attack)}
        # Clones, so that an attack that writes into its inputs cannot move the clean images.
        with torch.enable_grad():  # attacks may rely on it, wherever they are called
            return self.attack(model, images.clone(), masks.clone(), **accepted)


def no_attack(model: LogitsFn, images: Images, masks: Masks) -> Images:
    """Return the images unchanged; used to score clean images in the same loop as attacked ones."""
    del model, masks
    return images


UNTOUCHED = AttackAtRadius(CLEAN, no_attack, norm="none", epsilon=0.0)


def at_radii(
    attacks: Mapping[str, Attack], epsilons: Sequence[float] | None, tau: float = 0.5
) -> list[AttackAtRadius]:
    """List the clean images and every attack at every radius.

    An attack whose ``epsilon`` is bound (``partial(pgd, epsilon=8 / 255)``) is run at that radius
    only. An attack with an argument ``max_epsilon`` and no ``epsilon`` searches for the smallest
    perturbation and is run once.

    Args:
        attacks: Attacks by name.
        epsilons: Radii for attacks without a bound ``epsilon``, in units of pixel value.
        tau: DSC at or below which an attack has succeeded, in [0, 1).

    Returns:
        The clean images first, then the attacks in the order given.

    Raises:
        ValueError: If an attack has no radius, a radius is out of range, an attack is targeted at
            the true masks, or an attack stops at a higher DSC than ``tau``.
    """
    crossed = [UNTOUCHED]
    for name, attack in attacks.items():
        if name == CLEAN:
            raise ValueError(
                f"Expected attacks with other names than {CLEAN!r}, which is that of the clean "
                "rows, got one with this name. Rename it."
            )
        norm = str(_parameters(attack).get("norm", "linf"))
        minimal = is_minimal(attack)
        radii = [_largest(attack, norm)] if minimal else _radii(name, attack, epsilons)
        _refuse_targeted(name, attack)
        _refuse_higher_goal(name, attack, tau)
        crossed += [
            AttackAtRadius(name, attack, norm, _checked(name, norm, e), minimal) for e in radii
        ]
    if len({(each.name, each.epsilon) for each in crossed}) < len(crossed):
        raise ValueError(f"Expected every epsilon once, got {epsilons}. Drop the repeated ones.")
    return crossed


def is_minimal(attack: Attack) -> bool:
    """Whether an attack searches for the smallest successful perturbation.

    Such an attack has an argument ``max_epsilon`` and no argument ``epsilon``.
    """
    parameters = _parameters(attack)
    return "max_epsilon" in parameters and "epsilon" not in parameters


def check(
    adversarial: object,
    images: Images,
    attack: AttackAtRadius,
    keys: Sequence[str],
    std: Sequence[float] | None = None,
) -> Images:
    """Check the shape, type and range of adversarial images and their distance to the clean ones.

    Args:
        adversarial: Return value of the attack.
        images: The clean images, shape ``(b, 3, h, w)``, values in [0, 1].
        attack: The attack, with its norm and radius.
        keys: Names of the images, for error messages.
        std: Standard deviation by which the model divides each channel; used for
            :data:`NORMALISED` only.

    Returns:
        The adversarial images, detached and with the dtype and device of ``images``; clamped to
        [0, 1] unless the attack has ``clamp=False``.

    Raises:
        ValueError: If shape, type, range or distance is wrong; the message names attack and image.
    """
    who = f"Attack {attack.name!r} (epsilon {attack.epsilon:.6g}, {attack.norm})"
    if not isinstance(adversarial, torch.Tensor) or adversarial.shape != images.shape:
        shape = tuple(getattr(adversarial, "shape", ())) or type(adversarial).__name__
        raise ValueError(f"{who} must return images of shape {tuple(images.shape)}, got {shape}.")
    adversarial = adversarial.detach().to(images)
    for image, clean, key in zip(adversarial, images, keys, strict=True):
        if problem := _problem(image[None], clean[None], attack, std):
            raise ValueError(
                f"{who} returned an invalid image for {key!r}: {problem}. Correct the attack."
            )
    return adversarial.clamp(0.0, 1.0) if attack.stays_valid else adversarial


def _problem(
    image: Images, clean: Images, attack: AttackAtRadius, std: Sequence[float] | None
) -> str:
    if not image.isfinite().all():
        return f"{int((~image.isfinite()).sum())} pixel values are not finite"
    low, high = image.min().item(), image.max().item()
    if attack.stays_valid and (low < -_ROUNDING or high > 1 + _ROUNDING):
        return f"pixel values lie in [{low:.6g}, {high:.6g}] instead of [0, 1]"
    delta = image - clean
    if attack.norm == NORMALISED:
        parameters = _parameters(attack.attack)
        scale = torch.tensor(std or parameters.get("std", (1.0,))).view(1, -1, 1, 1).to(delta)
        delta = delta / (scale.mean() if parameters.get("equal_channels") else scale)
    length = geometry.norms(delta, "l2" if attack.norm == "l2" else "linf").item()
    # Adding a perturbation and subtracting it again rounds every pixel by up to 2 ** -24.
    slack = _ROUNDING * {"l2": clean.numel() ** 0.5, NORMALISED: 16.0}.get(attack.norm, 1.0)
    if length > attack.epsilon * (1 + 1e-5) + slack:
        return f"its distance is {length:.6g}, {length - attack.epsilon:.3g} more than epsilon"
    return ""


def _radii(name: str, attack: Attack, epsilons: Sequence[float] | None) -> Sequence[float]:
    parameters = _parameters(attack)
    bound = _bound(attack).get("epsilon")
    if bound is not None:
        return [bound]
    if epsilons and "epsilon" in parameters:
        return epsilons
    if isinstance(default := parameters.get("epsilon"), int | float):
        return [default]
    raise ValueError(
        f"Attack {name!r} has no epsilon. Let it take one and pass epsilons=[...], or bind it: "
        "partial(attack, epsilon=8 / 255)."
    )


def _largest(attack: Attack, norm: str) -> float:
    bound = _parameters(attack).get("max_epsilon")
    if isinstance(bound, int | float):
        return bound
    # Without a bound only the pixel range limits the norm; in L2 that depends on the image size.
    return 1.0 if norm == "linf" else inf


def _refuse_targeted(name: str, attack: Attack) -> None:
    if _bound(attack).get("targeted"):
        raise ValueError(
            f"Expected attack {name!r} to be untargeted, got targeted=True: it would move the "
            "predictions towards the true masks, and the model would look robust. Drop targeted; "
            "for attacks towards other masks evaluate Medis(targets=[...])."
        )


def _refuse_higher_goal(name: str, attack: Attack, tau: float) -> None:
    given = _bound(attack)
    if given.get("tau", tau) > tau:
        raise ValueError(
            f"Attack {name!r} stops at DSC {given['tau']:g}, but an attack succeeds only at DSC "
            f"{tau:g} or below: its successes would count as failures. Evaluate with tau="
            f"{given['tau']:g}, or bind no tau."
        )


def _bound(attack: Attack) -> Mapping[str, Any]:
    return attack.keywords if isinstance(attack, partial) else {}


def _checked(name: str, norm: str, epsilon: float) -> float:
    if norm not in ("linf", "l2", NORMALISED):
        raise ValueError(
            f"Attack {name!r} has norm {norm!r}; expected 'linf', 'l2' or {NORMALISED!r}."
        )
    if not epsilon >= 0 or (norm == "linf" and epsilon > 1):
        raise ValueError(
            f"Expected epsilon of attack {name!r} in units of pixel value, 0 to 1, got {epsilon}. "
            f"Eight grey levels are 8 / 255."
        )
    return float(epsilon)


def _parameters(attack: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(attack).parameters.values()
    return {p.name: p.default for p in parameters}
