"""One model under fixed settings: attacks a batch and writes down what came of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate import geometry
from palpate.data.sample import Batch, Case
from palpate.evaluation import outcome
from palpate.evaluation.conditions import UNTOUCHED, Trial, check
from palpate.evaluation.cost import Cost, Metered, MeteredSurrogate, Tally
from palpate.evaluation.frozen import std_of
from palpate.evaluation.image_scores import Answer, answer
from palpate.evaluation.metrics import Metric, distortion, find_metrics
from palpate.evaluation.protocol.protocol import Protocol
from palpate.evaluation.protocol.published_pipeline import Staging
from palpate.evaluation.protocol.storage import stored
from palpate.evaluation.results.describe import describe_metrics, describe_model, hash_weights
from palpate.evaluation.results.fingerprint import hash_data
from palpate.evaluation.results.rows import Identity, Row
from palpate.prompting import Bound, wants_boxes
from palpate.randomness import generator
from palpate.types import Images, Logits, Segmenter

Precision: TypeAlias = Literal["fp32", "bf16"]
Truth: TypeAlias = Float[Tensor, "b 1 h w"]  # masks with grey values


@dataclass(frozen=True)
class Result:
    """A row, and what is behind it."""

    row: Row
    image: Float[Tensor, "3 h w"]  # as the model saw it
    mask: Bool[Tensor, "1 h w"]
    prediction: Bool[Tensor, "1 h w"]


@dataclass(frozen=True)
class Bench:
    """A model and everything that decides what a row of it says.

    Attributes:
        model: Frozen, see :func:`palpate.evaluation.frozen.frozen`.
        threshold: Logit above which a pixel is foreground.
        seed: Of everything random.
        protocol: What happens between attack and score.
        precision: Of the model while it is attacked; answers are always in single precision.
        tolerance: Of the surface Dice, in pixels.
        tau: DSC that an attack must push an image to or below to succeed.
        metrics: Computed for every image.
    """

    model: Segmenter
    threshold: float
    seed: int
    protocol: Protocol
    precision: Precision
    tolerance: float
    tau: float
    metrics: Sequence[Metric] = find_metrics()

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"Expected precision 'fp32' or 'bf16', got {self.precision!r}.")

    def made_of(
        self, data: object, cases: Sequence[Case], attacks: Mapping[str, str]
    ) -> dict[str, str]:
        """The fingerprint of rows of these samples under these attacks, each described."""
        return {
            "protocol": self.protocol.name,
            "precision": self.precision,
            "weights": hash_weights(self.model),
            **describe_model(self.model),
            "data": hash_data(data, cases),
            "threshold": repr(self.threshold),
            "tolerance": repr(self.tolerance),
            "tau": repr(self.tau),
            **describe_metrics(self.metrics),
            **{f"attack.{name}": text for name, text in attacks.items()},
        }

    def identify(self, case: Case, trial: Trial) -> Identity:
        """Which row this will be, before it exists."""
        return Identity(
            case.dataset,
            case.split,
            case.key,
            case.prompt_level,
            case.prompt,
            trial.name,
            trial.norm,
            trial.epsilon,
            self.seed,
            self.protocol.name,
        )

    def look(self, batch: Batch, images: Images, truth: Truth | None = None) -> list[Answer]:
        """What the model answers to these images in place of those of the batch."""
        return answer(
            Bound(self.model, batch.prompts, batch.boxes),
            images,
            batch.masks,
            metrics=self.metrics,
            threshold=self.threshold,
            tolerance=self.tolerance,
            keys=batch.keys,
            truth=truth,
        )

    def press(
        self,
        batch: Batch,
        clean: Sequence[Answer],
        trial: Trial,
        staging: Staging | None = None,
    ) -> list[Result]:
        """Attack a batch and score the outcome: one result per sample, in order.

        Args:
            batch: Samples of one size.
            clean: What the model answers to them untouched.
            trial: The attack and its strength.
            staging: Who is attacked and with which prompts, where that is not the batch itself.
        """
        attacked = staging.attacked(batch, trial) if staging else batch
        images, cost = self._attack(attacked, trial, staging.truth(attacked) if staging else None)
        if trial != UNTOUCHED:
            images = stored(images, [case.image_name for case in attacked.cases], self.protocol)
        answers = clean if trial == UNTOUCHED else self._score(batch, images, trial, staging)
        return self.record(batch, trial, clean, answers, images, cost)

    def record(
        self,
        batch: Batch,
        trial: Trial,
        clean: Sequence[Answer],
        answers: Sequence[Answer],
        images: Images,
        cost: Cost,
    ) -> list[Result]:
        """One result per sample, in order, of an attack that somebody has carried out.

        Args:
            batch: The clean samples, with the prompts that were answered.
            trial: Its name, norm and epsilon go into the rows.
            clean: What the model answers to the samples before the attack.
            answers: What it answered afterwards.
            images: What it answered that to.
            cost: Of the attack, for one sample.
        """
        rows = self._rows(batch, trial, clean, answers, images, cost)
        predictions = (each.prediction for each in answers)
        return list(map(Result, rows, images, batch.masks, predictions))

    def _score(
        self, batch: Batch, images: Images, trial: Trial, staging: Staging | None
    ) -> list[Answer]:
        if staging is None:
            return self.look(batch, images)
        return self.look(staging.scored(batch, trial), images, staging.truth(batch))

    def _attack(self, batch: Batch, trial: Trial, truth: Truth | None) -> tuple[Images, Cost]:
        tally, std = Tally(), std_of(self.model)
        model = Metered(self._attacked_model(batch), batch.prompts, tally, batch.boxes)
        trial = trial.with_surrogate(partial(MeteredSurrogate, tally=tally))
        with tally, naming(trial, batch):
            if trial == UNTOUCHED:
                with torch.no_grad():
                    model(batch.images)  # what a clean row costs
            # The strength is no part of the name: an image gets the same random numbers at
            # every epsilon, so that a curve over epsilon shows epsilon and not luck.
            generators = [self._generator(key, trial) for key in batch.keys]
            images = trial.run(
                model,
                batch.images,
                batch.masks,
                generators=generators,
                threshold=self.threshold,
                tau=self.tau,
                truth=truth,
                **({"std": std} if std else {}),
            )
        images = check(images, batch.images, trial, batch.keys, std)
        return images, tally.per_image(len(images))

    def _generator(self, key: str, trial: Trial) -> torch.Generator:
        if self.protocol.seeding == "none":
            unseeded = torch.Generator()
            unseeded.seed()
            return unseeded
        return generator(self.seed, key, trial.name)

    def _attacked_model(self, batch: Batch) -> Segmenter:
        if self.precision == "fp32":
            return self.model
        return _HalfPrecision(self.model, batch.images.device.type)

    def _rows(
        self,
        batch: Batch,
        trial: Trial,
        clean: Sequence[Answer],
        answers: Sequence[Answer],
        images: Images,
        cost: Cost,
    ) -> Iterator[Row]:
        before, after = (torch.tensor([a.dsc for a in them]) for them in (clean, answers))
        area = torch.tensor([int(a.area) for a in answers])
        mask_area = batch.masks.flatten(1).sum(1).cpu()
        succeeded = outcome.success(before, after, self.tau).tolist()
        truth_area = torch.tensor([a.truth_area for a in answers])
        failures = outcome.failure_mode(after, area, truth_area, self.tau)
        lengths = _distortions(images, batch.images)
        height, width = images.shape[2:]
        pixels = height * width
        for i, case in enumerate(batch.cases):
            yield Row(
                **self.identify(case, trial)._asdict(),
                image_name=case.image_name,
                structure=case.structure,
                group=case.group,
                height=height,
                width=width,
                scores=self._scores(answers[i], clean[i]),
                mask_area=mask_area[i].item() / pixels,
                clean_area=clean[i].area / pixels,
                area=answers[i].area / pixels,
                success=succeeded[i],
                failure=failures[i],
                loss_clean=clean[i].loss,
                loss=answers[i].loss,
                linf=lengths[i].linf,
                l2=lengths[i].l2,
                psnr=lengths[i].psnr,
                ssim=lengths[i].ssim,
                **cost._asdict(),
                minimal=trial.minimal,
            )

    def _scores(self, after: Answer, before: Answer) -> dict[str, float]:
        kept = {f"{m.name}_clean": before.scores[m.name] for m in self.metrics if m.keeps_clean}
        return {**after.scores, **kept}


@dataclass(frozen=True)
class _HalfPrecision:
    model: Segmenter
    device: str

    @property
    def wants_boxes(self) -> bool:
        return wants_boxes(self.model)

    def __call__(self, images: Images, prompts: Sequence[str], **boxes: Any) -> Logits:
        with torch.autocast(self.device, torch.bfloat16):
            return self.model(images, prompts=prompts, **boxes).float()


class _Distortion(NamedTuple):
    linf: float
    l2: float
    psnr: float
    ssim: float


def _distortions(images: Images, clean: Images) -> list[_Distortion]:
    columns = (
        geometry.norms(images - clean, "linf"),
        geometry.norms(images - clean, "l2"),
        distortion.psnr(images, clean),
        distortion.ssim(images, clean),
    )
    return [_Distortion(*each) for each in torch.stack(columns, dim=1).tolist()]


@contextmanager
def naming(trial: Trial, batch: Batch) -> Iterator[None]:
    """Add to any error which attack was at work on which images."""
    try:
        yield
    except Exception as error:
        error.add_note(f"During {trial} on {', '.join(batch.keys)}.")
        raise
