"""MedIS on a data set: how many steps each loss takes to each target, image by image."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from torch import Tensor

from palpate import geometry
from palpate.attacks.medis import MEDIS_LOSSES, RADIUS, losses_by_name, medis
from palpate.attacks.race import Run, race
from palpate.attacks.rules import Criterion, Rules, rules
from palpate.attacks.targets import TARGETS, Bank, TargetName, aim_at, check_bank
from palpate.data import Samples
from palpate.data.sample import Batch, Case
from palpate.evaluation import metrics
from palpate.evaluation.batches import list_cases, load, select, windows
from palpate.evaluation.cost import Metered, Tally
from palpate.evaluation.fingerprint import Fingerprint, describe, hash_data, hash_weights
from palpate.evaluation.frozen import device_of, frozen, threshold_of
from palpate.evaluation.medis_lines import UNTARGETED, Line, LineIdentity, LineStore
from palpate.evaluation.memory import Portions
from palpate.evaluation.trials import Trial, check
from palpate.progress import Progress, silent
from palpate.randomness import choose, generator
from palpate.types import Images, Loss, Masks, Segmenter


def evaluate_medis(
    model: Segmenter,
    data: Samples,
    *,
    targets: Sequence[str] = (UNTARGETED, *TARGETS),
    losses: Sequence[str | Loss] = MEDIS_LOSSES,
    bank: Bank | None = None,
    steps: int = 10,
    epsilon: float = RADIUS,
    criterion: Criterion = "miou",
    success: float | None = None,
    success_target: float | None = None,
    faithful: bool = False,
    copies: int | None = None,
    out: Path | str | None = None,
    seed: int = 0,
    batch_size: int = 8,
    limit: int | None = None,
    fingerprint: Fingerprint | None = None,
    progress: Progress = silent,
    stage: str = "MedIS",
) -> pd.DataFrame:
    """Attack each image with each loss towards each target, and write down each first success.

    An image that meets the threshold before it is attacked shows nothing about an attack. It is
    attacked all the same, and its line says ``already``;
    :func:`palpate.evaluation.fusion.success_rates` leaves it out and tells how many there are. A
    target is the same for all losses. With ``faithful`` both are otherwise: the clean image
    counts as step 1, and a random target is one mask for a data set, drawn for each loss.

    Args:
        model: Called as ``model(images, prompts=[...])``, as in
            :func:`palpate.evaluation.evaluate`.
        data: Samples; masks of one size where a target is chosen from them.
        targets: ``"untargeted"`` and names of :data:`palpate.attacks.targets.TARGETS`.
        losses: See :func:`palpate.attacks.medis`.
        bank: Masks that targets are chosen from; by default those of ``data``, each once. It is
            held in memory, a byte a pixel.
        steps: Updates, at most.
        epsilon: Radius of the ball.
        criterion: ``"miou"`` or ``"dice"``.
        success: Score with the truth down from which an attack without a target has succeeded.
        success_target: Score with the target from which on one with a target has.
        faithful: Do all as the notebooks do it, see :mod:`palpate.attacks.rules`.
        copies: Losses at once, see :func:`palpate.attacks.race.race`.
        out: Folder of the lines, where a killed evaluation goes on. None keeps nothing.
        seed: Of the random targets.
        batch_size: Images at once, each once for every loss; halved where memory runs out.
        limit: Only the first so many samples; targets are chosen from these, too.
        fingerprint: Whatever else the lines depend on.
        progress: Told after each batch and target how many lines there are.
        stage: What progress calls this.

    Returns:
        One line for each image, target and loss (:class:`palpate.evaluation.medis_lines.Line`),
        in the order of the data, the targets and the losses.

    Raises:
        ValueError: If there is no such target or loss, masks to choose from have several sizes,
            or ``out`` holds lines of another evaluation.
    """
    named = losses_by_name(losses, faithful=faithful)
    _check_targets(targets)
    if limit is not None and limit < 1:
        raise ValueError(f"Expected limit >= 1, got {limit}.")
    judged = partial(
        rules,
        epsilon=epsilon,
        steps=steps,
        criterion=criterion,
        threshold=threshold_of(model),
        faithful=faithful,
    )
    without = judged(targeted=False, success=success)
    towards = judged(targeted=True, success=success_target)
    everything = list_cases(data)
    cases = everything[:limit]
    if bank is None and {"random", "nearest"} & set(targets):
        bank = mask_bank(data, cases)
    bench = _Bench(model, named, without, towards, bank, copies, seed)
    with ExitStack() as stack:
        folder = Path(out or stack.enter_context(TemporaryDirectory()))
        stack.enter_context(frozen(model))
        store = LineStore(folder, bench.made_of(data, everything) | dict(fingerprint or {}))
        wanted = [bench.identify(c, t, loss) for c in cases for t in targets for loss in named]
        done = sum(map(store.done, wanted))
        portions = Portions(batch_size)
        for window in windows(len(cases), batch_size):
            lacking = [i for i in window if bench.misses(store, cases[i], targets)]
            for batch in load(data, cases, lacking, device_of(model)):
                for target in targets:
                    work = partial(bench.press, batch, target)
                    places = [
                        place
                        for place, case in enumerate(batch.cases)
                        if bench.misses(store, case, [target])
                    ]
                    found = portions.run(work, places)
                    done += store.add([line for lines in found for line in lines])
                    progress(stage, done, len(wanted), target)
        return _in_order(store.frame(), wanted)


def mask_bank(data: Samples, cases: Sequence[Case]) -> Bank:
    """The masks of the samples, each once, in order.

    Raises:
        ValueError: If they have several sizes.
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


@dataclass(frozen=True)
class _Bench:
    """A model and everything that decides what a line of it says."""

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
            runs = race(
                Metered(self.model, batch.prompts, tally),
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

    def _aims(self, batch: Batch, target: str) -> list[Masks]:
        """For each loss the masks it goes by."""
        if target == UNTARGETED:
            return [batch.masks] * len(self.losses)
        if self.without.faithful and target == "random":
            return [self._published_random(batch, loss) for loss in self.losses]
        name: TargetName = target  # type: ignore[assignment]
        sources = [generator(self.seed, key, "target") for key in batch.keys]
        return [aim_at(name, batch.masks, bank=self.bank, generator=sources)] * len(self.losses)

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
            logits = self.model(images, prompts=batch.prompts).float()
        predictions = metrics.binarise(logits, judged.threshold)
        with_aim, with_truth = (metrics.count(predictions, masks) for masks in (aim, batch.masks))
        columns = (
            judged.credit(judged.score(logits, aim)),
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


def _check_targets(targets: Sequence[str]) -> None:
    known = (UNTARGETED, *TARGETS)
    wrong = [target for target in targets if target not in known]
    if isinstance(targets, str) or not targets or wrong or len(set(targets)) < len(targets):
        raise ValueError(f"Expected some of {', '.join(known)}, each once, got {targets!r}.")


def _in_order(lines: pd.DataFrame, wanted: Sequence[LineIdentity]) -> pd.DataFrame:
    """Of all lines of a folder those that were asked for, in the order they were asked for."""
    places = {identity: place for place, identity in enumerate(wanted)}
    names = lines[list(LineIdentity._fields)].itertuples(index=False, name=None)
    order = [places.get(LineIdentity(*name), -1) for name in names]
    lines = lines.assign(place=order)
    kept = lines[lines["place"] >= 0].sort_values("place", kind="stable")
    return kept.drop(columns="place").reset_index(drop=True)
