"""Attacks a batch with one model under fixed settings, and scores the outcome as rows."""

from collections.abc import Iterator, Sequence
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
from palpate.evaluation.cost import Cost, Metered, MeteredSurrogate, Tally
from palpate.evaluation.frozen import std_of
from palpate.evaluation.image_attacks import UNTOUCHED, AttackAtRadius, check
from palpate.evaluation.image_scores import Answer, answer
from palpate.evaluation.metrics import Metric, distortion, find_metrics
from palpate.evaluation.protocol.protocol import Protocol
from palpate.evaluation.protocol.published_pipeline import PublishedPipeline
from palpate.evaluation.protocol.storage import stored
from palpate.evaluation.results.describe import describe_metrics, describe_model, hash_weights
from palpate.evaluation.results.fingerprint import hash_data
from palpate.evaluation.results.rows import Identity, Kind, Row
from palpate.prompting import Bound, wants_boxes
from palpate.randomness import generator
from palpate.types import Images, Logits, Segmenter

Precision: TypeAlias = Literal["fp32", "bf16"]
Truth: TypeAlias = Float[Tensor, "b 1 h w"]  # masks with grey values


@dataclass(frozen=True)
class Result:
    """A row, with the image, mask and prediction that it is computed from."""

    row: Row
    image: Float[Tensor, "3 h w"]  # as the model saw it
    mask: Bool[Tensor, "1 h w"]
    prediction: Bool[Tensor, "1 h w"]


@dataclass(frozen=True)
class Scorer:
    """A model with all settings that determine the values of a row.

    Attributes:
        model: The model, frozen by :func:`palpate.evaluation.frozen.frozen`.
        threshold: Logit above which a pixel is foreground.
        seed: Seed of all random numbers.
        protocol: How an attacked image is stored, prompted and scored.
        precision: Precision of the model during attacks on images; scores are always computed in
            single precision.
        tolerance: Tolerance of the normalised surface Dice, in pixels.
        tau: DSC at or below which an attack has succeeded, in [0, 1).
        metrics: Metrics computed for every image.
        pipeline: Gives the sample and prompts to attack and score, if they differ from those of
            the batch, as under the published protocol.

    Raises:
        ValueError: If ``precision`` is unknown.
    """

    model: Segmenter
    threshold: float
    seed: int
    protocol: Protocol
    precision: Precision
    tolerance: float
    tau: float
    metrics: Sequence[Metric] = find_metrics()
    pipeline: PublishedPipeline | None = None

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"Expected precision 'fp32' or 'bf16', got {self.precision!r}.")

    def made_of(self, data: object, cases: Sequence[Case]) -> dict[str, str]:
        """Fingerprint of everything that the rows depend on, except the attacks."""
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
        }

    def identify(self, case: Case, attack: AttackAtRadius) -> Identity:
        """Identity of the row of a sample under an attack, known before the attack is run."""
        return Identity(
            case.dataset,
            case.split,
            case.key,
            case.prompt_level,
            case.prompt,
            attack.name,
            attack.norm,
            attack.epsilon,
            self.seed,
            self.protocol.name,
        )

    def predict(self, batch: Batch, images: Images, truth: Truth | None = None) -> list[Answer]:
        """Predict and score ``images``, with the prompts, boxes and masks of ``batch``."""
        return answer(
            Bound(self.model, batch.prompts, batch.boxes, batch.ignored),
            images,
            batch.masks,
            metrics=self.metrics,
            threshold=self.threshold,
            tolerance=self.tolerance,
            keys=batch.keys,
            truth=truth,
            ignored=batch.ignored,
        )

    def predict_clean(self, batch: Batch) -> list[Answer]:
        """Predict and score the clean images of a batch."""
        return self._score(batch, batch.images, UNTOUCHED)

    def attack(self, batch: Batch, clean: Sequence[Answer], attack: AttackAtRadius) -> list[Result]:
        """Attack a batch and score the outcome: one result per sample, in order.

        Args:
            batch: Samples of one size.
            clean: Scores of the clean images.
            attack: The attack and its radius.
        """
        pipeline = self.pipeline
        attacked = pipeline.attacked(batch, attack) if pipeline else batch
        images, cost = self._attack(
            attacked, attack, pipeline.truth(attacked) if pipeline else None
        )
        if attack != UNTOUCHED:
            images = stored(images, [case.image_name for case in attacked.cases], self.protocol)
        answers = clean if attack == UNTOUCHED else self._score(batch, images, attack)
        return self.record(batch, attack, clean, answers, images, cost)

    def record(
        self,
        batch: Batch,
        attack: AttackAtRadius,
        clean: Sequence[Answer],
        answers: Sequence[Answer],
        images: Images,
        cost: Cost,
        kind: Kind = "image",
    ) -> list[Result]:
        """Build the results of an attack that has already been run and scored.

        Args:
            batch: The clean samples, with the prompts used for the scores after the attack.
            attack: Name, norm and epsilon for the rows.
            clean: Scores before the attack.
            answers: Scores after the attack.
            images: The attacked images, shape ``(b, 3, h, w)``.
            cost: Cost of the attack per sample.
            kind: What was attacked.

        Returns:
            One result per sample, in order.
        """
        rows = self._rows(batch, attack, clean, answers, images, cost, kind)
        predictions = (each.prediction for each in answers)
        return list(map(Result, rows, images, batch.masks, predictions))

    def _score(self, batch: Batch, images: Images, attack: AttackAtRadius) -> list[Answer]:
        if self.pipeline is None:
            return self.predict(batch, images)
        truth = self.pipeline.truth(batch)
        return self.predict(self.pipeline.scored(batch, attack), images, truth)

    def _attack(
        self, batch: Batch, attack: AttackAtRadius, truth: Truth | None
    ) -> tuple[Images, Cost]:
        tally, std = Tally(), std_of(self.model)
        model = Metered(
            self._attacked_model(batch), batch.prompts, tally, batch.boxes, batch.ignored
        )
        attack = attack.with_surrogate(partial(MeteredSurrogate, tally=tally))
        with tally, naming(attack, batch):
            if attack == UNTOUCHED:
                with torch.no_grad():
                    model(batch.images)  # so that a clean row counts one forward pass
            # Epsilon is not part of the seed: an image gets the same random numbers at every
            # epsilon, so that a curve over epsilon shows the effect of epsilon only.
            generators = [self._generator(key, attack) for key in batch.keys]
            images = attack.run(
                model,
                batch.images,
                batch.masks,
                generators=generators,
                threshold=self.threshold,
                tau=self.tau,
                truth=truth,
                **({"std": std} if std else {}),
            )
        images = check(images, batch.images, attack, batch.keys, std)
        return images, tally.per_image(len(images))

    def _generator(self, key: str, attack: AttackAtRadius) -> torch.Generator:
        if self.protocol.seeding == "none":
            unseeded = torch.Generator()
            unseeded.seed()
            return unseeded
        return generator(self.seed, key, attack.name)

    def _attacked_model(self, batch: Batch) -> Segmenter:
        if self.precision == "fp32":
            return self.model
        return _HalfPrecision(self.model, batch.images.device.type)

    def _rows(
        self,
        batch: Batch,
        attack: AttackAtRadius,
        clean: Sequence[Answer],
        answers: Sequence[Answer],
        images: Images,
        cost: Cost,
        kind: Kind,
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
                **self.identify(case, attack)._asdict(),
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
                minimal=attack.minimal,
                kind=kind,
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
def naming(attack: AttackAtRadius, batch: Batch) -> Iterator[None]:
    """Add to any error which attack was running on which images."""
    try:
        yield
    except Exception as error:
        error.add_note(f"During {attack} on {', '.join(batch.keys)}.")
        raise
