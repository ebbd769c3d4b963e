"""MedIS on a data set: how many steps each loss takes to each target, image by image."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from torch import Tensor

from palpate.attacks.medis.medis import MEDIS_LOSSES, RADIUS, losses_by_name
from palpate.attacks.medis.success_rules import Criterion, success_rules
from palpate.attacks.medis.targets import TARGETS, Bank
from palpate.data import Samples
from palpate.data.sample import Case
from palpate.evaluation.batches import list_cases, load, windows
from palpate.evaluation.frozen import device_of, frozen, threshold_of
from palpate.evaluation.medis.rows import UNTARGETED, LineIdentity, LineStore
from palpate.evaluation.medis.scoring import MedisBench
from palpate.evaluation.results.fingerprint import Fingerprint
from palpate.oom import Portions
from palpate.progress import Progress, silent
from palpate.types import Loss, Segmenter


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
    batch_size: int = 16,
    limit: int | None = None,
    fingerprint: Fingerprint | None = None,
    workers: int = 0,
    progress: Progress = silent,
    stage: str = "MedIS",
) -> pd.DataFrame:
    """Attack each image with each loss towards each target, and write down each first success.

    An image that meets the threshold before it is attacked shows nothing about an attack. It is
    attacked all the same, and its line says ``already``;
    :func:`~palpate.evaluation.medis.fusion.success_rates` leaves it out and tells how many there
    are. A target is the same for all losses. With ``faithful`` both are otherwise: the clean image
    counts as step 1, and a random target is one mask for a data set, drawn for each loss.

    Args:
        model: Called as ``model(images, prompts=[...])``, as in
            :func:`palpate.evaluation.evaluate`.
        data: Samples; masks of one size where a target is chosen from them.
        targets: ``"untargeted"`` and names of :data:`palpate.attacks.medis.targets.TARGETS`.
        losses: See :func:`palpate.attacks.medis`.
        bank: Masks that targets are chosen from; by default those of ``data``, each once. It is
            held in memory, a byte a pixel.
        steps: Updates, at most.
        epsilon: Radius of the ball.
        criterion: ``"miou"`` or ``"dice"``.
        success: Score with the truth down from which an attack without a target has succeeded.
        success_target: Score with the target from which on one with a target has.
        faithful: Do all as the notebooks do it, see :mod:`palpate.attacks.medis.success_rules`.
        copies: Losses at once, see :func:`palpate.attacks.medis.parallel_losses.run_losses`.
        out: Folder of the lines, where a killed evaluation goes on. None keeps nothing.
        seed: Of the random targets.
        batch_size: Images in a pass, an image counted once for each of its losses; halved where
            memory runs out.
        limit: Only the first so many samples; targets are chosen from these, too.
        fingerprint: Whatever else the lines depend on.
        workers: Threads that read the next images meanwhile; ``data`` must allow that.
        progress: Told after each batch and target how many lines there are.
        stage: What progress calls this.

    Returns:
        One line for each image, target and loss (:class:`palpate.evaluation.medis.rows.Line`),
        in the order of the data, the targets and the losses.

    Raises:
        ValueError: If there is no such target or loss, a budget or threshold makes no sense, masks
            to choose from have several sizes, or ``out`` holds lines of another evaluation.
    """
    named = losses_by_name(losses, faithful=faithful)
    check_targets(targets)
    if limit is not None and limit < 1:
        raise ValueError(f"Expected limit >= 1, got {limit}.")
    judged = partial(
        success_rules,
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
    bench = MedisBench(model, named, without, towards, bank, copies, seed)
    with ExitStack() as stack:
        folder = Path(out or stack.enter_context(TemporaryDirectory()))
        stack.enter_context(frozen(model))
        store = LineStore(folder, bench.made_of(data, everything) | dict(fingerprint or {}))
        wanted = [bench.identify(c, t, loss) for c in cases for t in targets for loss in named]
        done = sum(map(store.done, wanted))
        at_once = max(1, batch_size // (copies or len(named)))
        portions = Portions(at_once)
        lacking = [
            [i for i in window if bench.misses(store, cases[i], targets)]
            for window in windows(len(cases), at_once)
        ]
        for batch in load(data, cases, lacking, device_of(model), workers):
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


def check_targets(targets: Sequence[str]) -> None:
    """Raise ``ValueError`` unless these are targets there are, each once."""
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
