"""MedIS on a data set: the steps that each loss needs to reach each target, per image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import blake2b
from typing import Any, NamedTuple

import torch
from torch import Tensor

from palpate import overlap
from palpate.attacks.medis.medis import MEDIS_LOSSES, RADIUS, are_published, losses_by_name, medis
from palpate.attacks.medis.notebook_model import as_in_notebooks
from palpate.attacks.medis.parallel_losses import Run, run_losses
from palpate.attacks.medis.success_rules import Criterion, Rules, success_rules
from palpate.attacks.medis.targets import TARGETS, Bank, TargetName, check_bank, target_masks
from palpate.data import Samples
from palpate.data.sample import Batch, Case
from palpate.evaluation.conditions import Condition
from palpate.evaluation.cost import Cost, Metered, Tally
from palpate.evaluation.image_attacks import AttackAtRadius, check
from palpate.evaluation.image_scores import Answer
from palpate.evaluation.medis.rows import UNTARGETED
from palpate.evaluation.results.describe import describe
from palpate.evaluation.results.rows import Identity
from palpate.evaluation.scoring import Result, Scorer, naming
from palpate.prompting import Bound
from palpate.randomness import choose, generator
from palpate.types import Images, Loss, Masks, Segmenter


@dataclass(frozen=True)
class Medis:
    """MedIS as in its tables: each loss attacks each image alone, once per target.

    An image that meets the criterion before the attack says nothing about the attack. It is
    attacked nevertheless, and its row has ``already`` set;
    :func:`~palpate.evaluation.medis.fusion.success_rates` excludes such images and reports their
    share. All losses have the same target mask. With ``faithful`` both points differ: the clean
    image counts as step 1, and a random target is one mask per data set, drawn for each loss.

    Attributes:
        targets: ``"untargeted"`` and names of :data:`palpate.attacks.medis.targets.TARGETS`.
        losses: See :func:`palpate.attacks.medis`.
        bank: Masks from which targets are chosen; by default the distinct masks of the data. It is
            held in memory, with one byte per pixel.
        steps: Maximum number of updates.
        epsilon: Radius of the L-infinity ball, in units of pixel value in [0, 1].
        criterion: ``"miou"`` or ``"dice"``.
        success: Score with the ground truth at or below which an untargeted attack has succeeded.
        success_target: Score with the target at or above which a targeted attack has succeeded.
        faithful: Follow the notebooks in every detail; see
            :mod:`palpate.attacks.medis.success_rules`.
        copies: Number of losses run together; see
            :func:`palpate.attacks.medis.parallel_losses.run_losses`.
        limit: Use only the first ``limit`` samples; targets are also chosen from these only.

    Raises:
        ValueError: If a target or loss is unknown, or a budget or threshold is invalid.
    """

    targets: Sequence[str] = (UNTARGETED, *TARGETS)
    losses: Sequence[str | Loss] = MEDIS_LOSSES
    bank: Bank | None = None
    steps: int = 10
    epsilon: float = RADIUS
    criterion: Criterion = "miou"
    success: float | None = None
    success_target: float | None = None
    faithful: bool = False
    copies: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        _check_targets(self.targets)
        losses_by_name(self.losses, faithful=self.faithful)
        for targeted in (False, True):
            self.rules(targeted=targeted)
        for name in ("copies", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"Expected {name} >= 1, got {value}.")

    def rules(self, *, targeted: bool, threshold: float = 0.0) -> Rules:
        """Step size and success criterion for targeted or untargeted attacks.

        Args:
            targeted: Whether the attack is targeted.
            threshold: Logit above which a pixel is foreground.
        """
        return success_rules(
            targeted=targeted,
            epsilon=self.epsilon,
            steps=self.steps,
            criterion=self.criterion,
            success=self.success_target if targeted else self.success,
            threshold=threshold,
            faithful=self.faithful,
        )

    def conditions(
        self, name: str, scorer: Scorer, data: Samples, cases: Sequence[Case]
    ) -> list["MedisCondition"]:
        """Create one condition per target.

        Args:
            name: Name of the attack in the rows.
            scorer: The model and its settings.
            data: The samples; their masks are read if targets are chosen from them.
            cases: The cases of the samples that are evaluated.
        """
        cases, bank = cases[: self.limit], self.bank
        if bank is None and {"random", "nearest"} & set(self.targets):
            bank = mask_bank(data, cases)
        made = partial(MedisCondition, scorer, name, self, bank, frozenset(cases))
        return [made(target) for target in self.targets]


@dataclass(frozen=True)
class MedisCondition(Condition):
    """All losses of MedIS with one target; each loss has a row of its own.

    Attributes:
        scorer: The model and its settings; its precision is ignored, because MedIS always runs in
            single precision.
        name: Name of the attack in the rows.
        settings: The options of MedIS.
        bank: Masks from which the target is chosen; None if it is not chosen from masks.
        cases: The samples that are attacked.
        target: ``"untargeted"``, or the name of a target.
    """

    scorer: Scorer
    name: str
    settings: Medis
    bank: Bank | None
    cases: frozenset[Case]
    target: str

    def __str__(self) -> str:
        return f"{self.name} {self.target}"

    def describe(self) -> Mapping[str, str]:
        """Rules, losses and bank as separate entries, so that losses and targets can be added."""
        kind = "targeted" if self.rules.targeted else "untargeted"
        entries = {kind: repr(replace(self.rules, doubled=False))}
        if self.target in ("random", "nearest"):
            entries["bank"] = _hash(self.bank)
        entries |= {f"loss.{name}": describe(loss) for name, loss in self.losses.items()}
        return {f"attack.{self.name}.{key}": value for key, value in entries.items()}

    def identities(self, case: Case) -> Sequence[Identity]:
        """One row per loss."""
        return [self._identity(case, loss) for loss in self.losses]

    def applies(self, case: Case) -> bool:
        """Whether the sample is among the first ``limit``."""
        return case in self.cases

    def at_once(self, batch_size: int) -> int:
        """Fewer samples than ``batch_size``: each image is in memory once per loss run together."""
        return max(1, batch_size // (self.settings.copies or len(self.losses)))

    def run(self, batch: Batch, clean: Sequence[Answer]) -> list[Result]:
        """Attack each image with each loss, and score what each loss returned."""
        if batch.ignored is not None:
            raise ValueError(
                "Expected masks without ignored pixels for MedIS with its tables, whose criterion "
                "counts all pixels, got some that are ignored. Use the attack 'medis' instead."
            )
        aims = self._aims(batch)
        skipped = torch.stack([(aim == batch.masks).flatten(1).all(1).cpu() for aim in aims])
        tally = Tally()
        with tally, naming(self._row, batch):
            runs = run_losses(
                Metered(self._model, batch.prompts, tally, batch.boxes),
                batch.images,
                aims,
                self.losses,
                self.rules,
                skipped=skipped & self.rules.targeted,
                copies=self.settings.copies,
            )
        seconds = tally.per_image(len(batch.cases) * len(runs)).seconds
        return [
            result
            for place, (run, aim) in enumerate(zip(runs, aims, strict=True))
            for result in self._results(batch, clean, aim, run, place, seconds)
        ]

    @cached_property
    def losses(self) -> dict[str, Loss]:
        """The losses by name."""
        return losses_by_name(self.settings.losses, faithful=self.settings.faithful)

    @cached_property
    def rules(self) -> Rules:
        """Step size and success criterion for the target."""
        judged = self.settings.rules(
            targeted=self.target != UNTARGETED, threshold=self.scorer.threshold
        )
        # The notebooks double the score of these two targets.
        return replace(judged, doubled=judged.faithful and self.target in ("white", "black"))

    @property
    def _row(self) -> AttackAtRadius:
        return AttackAtRadius(self.name, medis, "linf", self.settings.epsilon)

    def _identity(self, case: Case, loss: str) -> Identity:
        identity = self.scorer.identify(case, self._row)
        protocol = "notebooks" if self.settings.faithful else identity.protocol
        return identity._replace(target=self.target, loss_name=loss, protocol=protocol)

    @property
    def _model(self) -> Segmenter:
        """The model, or the notebooks' view of it if everything follows the notebooks."""
        model = self.scorer.model
        if not self.settings.faithful:
            return model
        seen: Any = as_in_notebooks(model, all_maps=are_published(self.losses))  # type: ignore[arg-type]
        found: Segmenter = seen
        return found

    def _aims(self, batch: Batch) -> list[Masks]:
        """For each loss, the masks that its attack moves towards, or away from if untargeted."""
        if self.target == UNTARGETED:
            return [batch.masks] * len(self.losses)
        if self.settings.faithful and self.target == "random":
            return [self._published_random(batch, loss) for loss in self.losses]
        name: TargetName = self.target  # type: ignore[assignment]
        sources = [generator(self.scorer.seed, key, "target") for key in batch.keys]
        return [target_masks(name, batch.masks, bank=self.bank, generator=sources)] * len(
            self.losses
        )

    def _published_random(self, batch: Batch, loss: str) -> Masks:
        """One mask of the bank per data set and loss, as in the notebooks (defect 5)."""
        bank = check_bank(self.bank, batch.masks, "random")
        places = [
            choose(len(bank), self.scorer.seed, case.dataset, "target", loss)
            for case in batch.cases
        ]
        return bank[places].to(batch.masks.device)

    def _results(
        self,
        batch: Batch,
        clean: Sequence[Answer],
        aim: Masks,
        run: Run,
        place: int,
        seconds: float,
    ) -> Iterator[Result]:
        """The rows of one loss."""
        promised = replace(self._row, name=f"medis with {run.loss}")
        images = check(run.images, batch.images, promised, batch.keys)
        seen, credit = self._measure(batch, images, aim), self.rules.credit(run.scores[:, 0])
        # A success counts only if the returned image shows it as well.
        success = run.success & self.rules.succeeds(seen.score)
        already = self.rules.succeeds(credit) & ~run.skipped
        # Count the passes of this image and loss only: in a batch, finished ones wait for others.
        passes = (~run.scores.isnan()).sum(1).double().tolist()
        areas = aim.flatten(1).double().mean(1).tolist()
        answers = self.scorer.predict(batch, images)
        results = self.scorer.record(
            batch, self._row, clean, answers, images, Cost(0.0, 0.0, seconds), "medis"
        )
        for i, (case, result) in enumerate(zip(batch.cases, results, strict=True)):
            row = replace(
                result.row,
                protocol=self._identity(case, run.loss).protocol,
                target=self.target,
                loss_name=run.loss,
                loss_place=place,
                skipped=bool(run.skipped[i]),
                already=bool(already[i]),
                success=bool(success[i]),
                steps=int(run.steps[i]),
                score=seen.score[i].item(),
                score_clean=credit[i].item(),
                flat=bool(run.flat[i]),
                target_area=areas[i],
                miou_target=seen.miou_target[i].item(),
                miou_truth=seen.miou_truth[i].item(),
                forwards=passes[i],
                backwards=max(passes[i] - 1, 0.0),
            )
            yield replace(result, row=row)

    def _measure(self, batch: Batch, images: Images, aim: Masks) -> "_Measured":
        with torch.no_grad():
            maps = Bound(self._model, batch.prompts, batch.boxes)(images).float()
        predictions = overlap.binarise(maps[:, -1:], self.rules.threshold)
        with_aim, with_truth = (overlap.count(predictions, masks) for masks in (aim, batch.masks))
        columns = (
            self.rules.credit(self.rules.score(maps, aim)),
            overlap.miou(with_aim),
            overlap.miou(with_truth),
        )
        return _Measured(*(column.double().cpu() for column in columns))


class _Measured(NamedTuple):
    """Scores of attacked images, one value per image."""

    score: Tensor
    miou_target: Tensor
    miou_truth: Tensor


def mask_bank(data: Samples, cases: Sequence[Case]) -> Bank:
    """Collect the distinct masks of the samples, in order.

    Raises:
        ValueError: If the masks have different sizes.
    """
    masks: dict[bytes, Tensor] = {}
    for index in range(len(cases)):
        mask = data[index].mask
        masks.setdefault(mask.numpy().tobytes(), mask)
        first = next(iter(masks.values()))
        if mask.shape != first.shape:
            raise ValueError(
                f"Expected masks of one size to choose targets from, got {tuple(first.shape[1:])} "
                f"and {tuple(mask.shape[1:])} ({cases[index].key!r}); load the data with "
                "size=..., or leave out the targets 'random' and 'nearest'."
            )
    return torch.stack(list(masks.values()))


def _check_targets(targets: Sequence[str]) -> None:
    known = (UNTARGETED, *TARGETS)
    wrong = [target for target in targets if target not in known]
    if isinstance(targets, str) or not targets or wrong or len(set(targets)) < len(targets):
        raise ValueError(f"Expected some of {', '.join(known)}, each once, got {targets!r}.")


def _hash(bank: Bank | None) -> str:
    raw = b"" if bank is None else bank.cpu().numpy().tobytes()
    return blake2b(raw, digest_size=16).hexdigest()
