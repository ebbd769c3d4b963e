"""Universal perturbations of a recipe, which are fitted to the model before the evaluation."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from palpate.attacks import UniversalPerturbation, fit_universal
from palpate.data import PromptedDataset
from palpate.errors import did_you_mean
from palpate.evaluation import fit_universal_on
from palpate.evaluation.resolve import AnyAttack
from palpate.grey_levels import grey_levels
from palpate.progress import Progress
from palpate.types import Attack, Images, Logits, Loss, Masks, Segmenter

FIT = "fit"
SHUFFLED = "-shuffled"  # suffix of the name of a perturbation's control

_OF_DATA = ("batch_size", "limit")  # options of fit_universal_on alone
_NOT_OPTIONS = ("model", "samples", "epsilon", "state", "made_of", "progress")
_OWN = (*_OF_DATA, "epsilon_255")


@dataclass(frozen=True)
class ToFit:
    """An attack with a universal perturbation that is not fitted yet.

    Attributes:
        attack: :func:`palpate.attacks.universal` with its options.
        epsilon: Radius of the perturbation, in units of pixel value.
        settings: Arguments of :func:`palpate.evaluation.fit_universal_on`.
    """

    attack: Attack
    epsilon: float
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        name: str,
        attack: Attack,
        fit: Mapping[str, Any] | None,
        largest: float,
        loss: Callable[[str], Loss],
    ) -> "ToFit":
        """Create one from the plain values of a recipe.

        Args:
            name: Name of the attack in the rows, for error messages.
            attack: :func:`palpate.attacks.universal` with its options.
            fit: Options of :func:`palpate.attacks.fit_universal`, ``batch_size``, ``limit``, and
                ``epsilon_255``, by default the largest radius of the run.
            largest: Largest radius of the run, in units of pixel value.
            loss: Function that finds a loss by name.

        Raises:
            ValueError: If an option does not exist.
        """
        settings = dict(fit or {})
        known = [k for k in inspect.signature(fit_universal).parameters if k not in _NOT_OPTIONS]
        for option in settings:
            if option not in (*known, *_OWN):
                raise ValueError(
                    f"The fit of attack {name!r} has no option {option!r}; expected some of "
                    f"{', '.join((*known, *_OWN))}.{did_you_mean(option, (*known, *_OWN))}"
                )
        if "loss" in settings:
            settings["loss"] = loss(settings["loss"])
        steps = settings.pop("epsilon_255", None)
        return cls(attack, largest if steps is None else grey_levels(steps) / 255, settings)

    def rehearsed(self, model: Callable[..., Logits], images: Images, masks: Masks) -> list[Attack]:
        """Fit for at most one epoch on one batch, to try out the options; return the attacks."""
        settings = {k: v for k, v in self.settings.items() if k not in _OF_DATA}
        settings["epochs"] = min(1, settings.get("epochs", 1))
        samples = [(images, masks, None)]
        fitted = fit_universal(model, samples, epsilon=self.epsilon, **settings)
        return list(self.with_control("", fitted).values())

    def with_control(self, name: str, fitted: UniversalPerturbation) -> dict[str, Attack]:
        """The attack, and its control: the same values at shuffled positions."""
        bound = partial(self.attack, perturbation=fitted)
        return {name: bound, name + SHUFFLED: partial(bound, shuffled=True)}


def fit_all(
    attacks: Mapping[str, AnyAttack | ToFit],
    model: Segmenter,
    seen: PromptedDataset | None,
    folder: Path,
    seed: int,
    progress: Progress,
) -> dict[str, AnyAttack]:
    """Fit all universal perturbations to the model.

    Args:
        attacks: Attacks by name.
        model: The model, in evaluation mode.
        seen: Training split on which they are fitted; None if there is nothing to fit.
        folder: Folder for the perturbations and the state of interrupted fits.
        seed: Seed of the fits.
        progress: Called for every batch.

    Returns:
        The attacks, each universal perturbation followed by its control.
    """
    ready: dict[str, AnyAttack] = {}
    for name, attack in attacks.items():
        if not isinstance(attack, ToFit):
            ready[name] = attack
            continue
        assert seen is not None
        settings = {"seed": seed, **attack.settings}
        fitted = fit_universal_on(
            model,
            seen,
            epsilon=attack.epsilon,
            state=folder / f"{name}.state.safetensors",
            progress=_about(name, progress),
            **settings,
        )
        fitted.save(folder / f"{name}.safetensors")
        ready |= attack.with_control(name, fitted)
    return ready


def fitted_before(attacks: Mapping[str, AnyAttack | ToFit], folder: Path) -> dict[str, AnyAttack]:
    """The attacks of a finished run, with the perturbations that it fitted.

    Args:
        attacks: Attacks by name.
        folder: Folder of the perturbations.

    Raises:
        FileNotFoundError: If a perturbation is missing.
    """
    ready: dict[str, AnyAttack] = {}
    for name, attack in attacks.items():
        if isinstance(attack, ToFit):
            fitted = UniversalPerturbation.load(folder / f"{name}.safetensors")
            ready |= attack.with_control(name, fitted)
        else:
            ready[name] = attack
    return ready


def _about(name: str, progress: Progress) -> Progress:
    """Progress callback that adds the name of the perturbation to the stage."""

    def report_progress(stage: str, done: int, total: int, note: str = "") -> None:
        progress(f"{stage} {name}", done, total, note)

    return report_progress
