"""One model under fixed settings: races losses over a batch and writes down what came of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import torch
from torch import Tensor

from palpate import geometry
from palpate import overlap as metrics
from palpate.attacks.losses import NOTEBOOK
from palpate.attacks.medis.medis import medis
from palpate.attacks.medis.parallel_losses import Run, run_losses
from palpate.attacks.medis.success_rules import Rules
from palpate.attacks.medis.targets import Bank, TargetName, check_bank, target_masks
from palpate.data import Samples
from palpate.data.sample import Batch, Case
from palpate.evaluation.batches import select
from palpate.evaluation.conditions import Trial, check
from palpate.evaluation.cost import Metered, Tally
from palpate.evaluation.medis.rows import UNTARGETED, Line, LineIdentity, LineStore
from palpate.evaluation.results.describe import describe, describe_model, hash_weights
from palpate.evaluation.results.fingerprint import hash_data
from palpate.prompting import Bound
from palpate.randomness import choose, generator
from palpate.types import Images, Loss, Masks, Segmenter


@dataclass(frozen=True)
class MedisBench:
    """A model and everything that decides what a line of it says.

    Attributes:
        model: Frozen, see :func:`palpate.evaluation.frozen.frozen`.
        losses: By name.
        without: Rules of attacks that have no target.
        towards: Rules of those that have one.
        bank: Masks that targets are chosen from, where any is chosen.
        copies: Losses at once.
        seed: Of the random targets.
    """

    model: Segmenter
    losses: dict[str, Loss]
    without: Rules
    towards: Rules
    bank: Bank | None
    copies: int | None
    seed: int

    @property
    def protocol(self) -> str:
        return "notebooks" if self.without.faithful else "sound"

    def identify(self, case: Case, target: str, loss: str) -> LineIdentity:
        return LineIdentity(
            case.dataset,
            case.split,
            case.key,
            case.prompt_level,
            case.prompt,
            target,
            loss,
            self.seed,
            self.protocol,
        )

    def misses(self, store: LineStore, case: Case, targets: Sequence[str]) -> bool:
        names = (self.identify(case, target, loss) for target in targets for loss in self.losses)
        return not all(map(store.done, names))

    def made_of(self, data: Samples, cases: Sequence[Case]) -> dict[str, str]:
        """Whatever changes a number; losses and targets may be added to lines that exist."""
        return {
            "protocol": self.protocol,
            "weights": hash_weights(self.model),
            **describe_model(self.model),
            "data": hash_data(data, cases),
            "untargeted": repr(self.without),
            "targeted": repr(self.towards),
            **({} if self.bank is None else {"attack.bank": _hash(self.bank)}),
            **{f"attack.{name}": describe(loss) for name, loss in self.losses.items()},
        }

    def press(self, batch: Batch, target: str, positions: list[int]) -> Iterator[list[Line]]:
        """The lines of each image of a batch."""
        batch = select(batch, positions)
        judged = self.without if target == UNTARGETED else self.towards
        judged = replace(judged, doubled=judged.faithful and target in ("white", "black"))
        aims = self._aims(batch, target)
        skipped = torch.stack([(aim == batch.masks).flatten(1).all(1).cpu() for aim in aims])
        tally = Tally()
        with tally:
            runs = run_losses(
                Metered(self._attacked, batch.prompts, tally, batch.boxes),
                batch.images,
                aims,
                self.losses,
                judged,
                skipped=skipped & (target != UNTARGETED),
                copies=self.copies,
            )
        seconds = tally.per_image(len(batch.cases) * len(runs)).seconds
        columns = [
            self._lines(batch, target, aim, run, judged, seconds)
            for run, aim in zip(runs, aims, strict=True)
        ]
        return (list(lines) for lines in zip(*columns, strict=True))

    @property
    def _attacked(self) -> Segmenter:
        """The model; its side maps, where it makes them, if all is done as the notebooks do it.

        Only their losses know what to make of several maps.
        """
        published = all(loss in NOTEBOOK.values() for loss in self.losses.values())
        if self.without.faithful and published and getattr(self.model, "sides", False):
            maps: Segmenter = self.model.side_maps  # type: ignore[attr-defined]
            return maps
        return self.model

    def _aims(self, batch: Batch, target: str) -> list[Masks]:
        """For each loss the masks it goes by."""
        if target == UNTARGETED:
            return [batch.masks] * len(self.losses)
        if self.without.faithful and target == "random":
            return [self._published_random(batch, loss) for loss in self.losses]
        name: TargetName = target  # type: ignore[assignment]
        sources = [generator(self.seed, key, "target") for key in batch.keys]
        return [target_masks(name, batch.masks, bank=self.bank, generator=sources)] * len(
            self.losses
        )

    def _published_random(self, batch: Batch, loss: str) -> Masks:
        """One mask of the bank for a whole data set, another for each loss (defect 5)."""
        bank = check_bank(self.bank, batch.masks, "random")
        places = [
            choose(len(bank), self.seed, case.dataset, "target", loss) for case in batch.cases
        ]
        return bank[places].to(batch.masks.device)

    def _lines(
        self, batch: Batch, target: str, aim: Masks, run: Run, judged: Rules, seconds: float
    ) -> Iterator[Line]:
        trial = Trial(f"medis with {run.loss}", medis, "linf", judged.epsilon)
        images = check(run.images, batch.images, trial, batch.keys)
        seen = self._look(batch, images, aim, judged)
        clean = judged.credit(run.scores[:, 0])
        # Believed is only what the image that came back shows as well.
        success = run.success & judged.succeeds(seen.score)
        already = judged.succeeds(clean) & ~run.skipped
        # Of this image and loss alone: what ends sooner is carried along by what goes on.
        passes = (~run.scores.isnan()).sum(1).double().tolist()
        areas = aim.flatten(1).double().mean(1).tolist()
        for i, case in enumerate(batch.cases):
            identity = self.identify(case, target, run.loss)
            yield Line(
                **identity._asdict(),
                image_name=case.image_name,
                structure=case.structure,
                group=case.group,
                skipped=bool(run.skipped[i]),
                already=bool(already[i]),
                success=bool(success[i]),
                steps=int(run.steps[i]),
                score=seen.score[i].item(),
                score_clean=clean[i].item(),
                flat=bool(run.flat[i]),
                target_area=areas[i],
                miou_target=seen.miou_target[i].item(),
                miou_truth=seen.miou_truth[i].item(),
                dsc_truth=seen.dsc_truth[i].item(),
                linf=seen.linf[i].item(),
                forwards=passes[i],
                backwards=max(passes[i] - 1, 0.0),
                seconds=seconds,
            )

    def _look(self, batch: Batch, images: Images, aim: Masks, judged: Rules) -> "_Seen":
        with torch.no_grad():
            maps = Bound(self._attacked, batch.prompts, batch.boxes)(images).float()
        logits = maps[:, -1:]
        predictions = metrics.binarise(logits, judged.threshold)
        with_aim, with_truth = (metrics.count(predictions, masks) for masks in (aim, batch.masks))
        columns = (
            judged.credit(judged.score(maps, aim)),
            metrics.miou(with_aim),
            metrics.miou(with_truth),
            metrics.dice(with_truth),
            geometry.norms(images - batch.images, "linf"),
        )
        return _Seen(*(column.double().cpu() for column in columns))


@dataclass(frozen=True)
class _Seen:
    """What images that came back show, one value for each."""

    score: Tensor
    miou_target: Tensor
    miou_truth: Tensor
    dsc_truth: Tensor
    linf: Tensor


def _hash(bank: Bank) -> str:
    return blake2b(bank.cpu().numpy().tobytes(), digest_size=16).hexdigest()
