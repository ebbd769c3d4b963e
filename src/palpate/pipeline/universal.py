"""Universal perturbations of a recipe, which are fitted to its model first."""

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
from palpate.progress import Progress
from palpate.types import Attack, Images, Logits, Loss, Masks, Segmenter

FIT = "fit"
SHUFFLED = "-shuffled"  # behind the name of a perturbation's control

_OF_DATA = ("batch_size", "limit")  # options of fit_universal_on alone
_NOT_OPTIONS = ("model", "samples", "epsilon", "state", "made_of", "progress")
_OWN = (*_OF_DATA, "epsilon_255")


@dataclass(frozen=True)
class ToFit:
    """An attack with a universal perturbation that is not fitted yet.

    Attributes:
        attack: :func:`palpate.attacks.universal` with its options.
        epsilon: Radius to fit in.
        settings: Of :func:`palpate.evaluation.fit_universal_on`.
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
        """From the plain values of a recipe.

        Args:
            name: In the table, for errors.
            attack: :func:`palpate.attacks.universal` with its options.
            fit: Options of :func:`palpate.attacks.fit_universal`, ``batch_size``, ``limit``, and
                ``epsilon_255``, by default the largest radius of the run.
            largest: That radius, in units of pixel value.
            loss: Finds a loss by its name.

        Raises:
            ValueError: If there is no such option.
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
        return cls(attack, largest if steps is None else steps / 255, settings)

    def rehearsed(self, model: Callable[..., Logits], images: Images, masks: Masks) -> list[Attack]:
        """The attacks after one epoch of fitting on one batch, to try out the options."""
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
    """Fit universal perturbations to the model; each is followed by its control.

    Args:
        attacks: By name.
        model: In evaluation mode.
        seen: The training split, to which they are fitted; None if there are none.
        folder: Folder of the perturbations and of the state of interrupted fits.
        seed: Of the fits.
        progress: Told about every batch.
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


def _about(name: str, progress: Progress) -> Progress:
    """Progress whose stage contains the name of the perturbation."""

    def report_progress(stage: str, done: int, total: int, note: str = "") -> None:
        progress(f"{stage} {name}", done, total, note)

    return report_progress
