"""Checks of the sanity card that need only the rows of an evaluation."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from palpate.evaluation.results.kinds import rows_of_images
from palpate.evaluation.results.rows import CLEAN
from palpate.evaluation.results.white_box import is_white
from palpate.evaluation.sanity.check import Check, conclude, grade, worst
from palpate.evaluation.sanity.pairing import LOST, SAMPLE, SETTING, percent
from palpate.evaluation.sanity.rivals import rivals_in

# Each should be at least as strong as the one before.
LADDER = ("fgsm", "pgd", "apgd", "sea", "ensemble")
CONTROL = "noise"

_VISIBLE = 0.02  # drop in mean DSC below which noise and attacks are not compared


def card_from_rows(rows: pd.DataFrame) -> list[Check]:
    """Run checks 2, 3, 5, 6, 16 and 17 of the sanity card on the rows of one evaluation.

    Checks 7 and 8 are added if there are rows of black-box or transferred attacks. Attacks are
    recognised by the beginning of their names: ``noise``, ``fgsm``, ``pgd``, ``apgd``, ``sea``,
    ``ensemble``, so ``pgd-100`` counts as ``pgd``. For checks 7 and 8 see
    :func:`palpate.evaluation.sanity.rivals.rivals_in`.

    Args:
        rows: As returned by :func:`palpate.evaluation.evaluate`; only attacks on images are used.
    """
    rows = rows_of_images(rows)
    attacked = rows[rows["attack"] != CLEAN]
    if attacked.empty:
        why = "There is no row of an attack.", "Evaluate with at least one attack."
        return [Check(number, "not_run", *why) for number in (2, 3, 5, 6, 16, 17)]
    # Attacks for the smallest perturbation stop as soon as they succeed, so their damage says
    # nothing about their strength, and an unchanged image is no defect.
    fixed = rows[~_is_minimal(rows)]
    return [
        _stays_in_the_ball(attacked),
        *_of_fixed_radius(fixed, fixed[fixed["attack"] != CLEAN]),
        _has_something_to_lose(attacked),
    ]


def _is_minimal(rows: pd.DataFrame) -> pd.Series:
    if "minimal" not in rows:
        return pd.Series(False, index=rows.index)
    return rows["minimal"].eq(True)


def _of_fixed_radius(rows: pd.DataFrame, attacked: pd.DataFrame) -> list[Check]:
    if attacked.empty:
        why = "There are only minimal-norm attacks.", "Evaluate with pgd at some epsilons too."
        return [Check(number, "not_run", *why) for number in (3, 5, 6, 17)]
    return [
        _grows_with_epsilon(rows),
        _beats_noise(attacked),
        _climbs_the_ladder(attacked),
        _changed_every_output(attacked),
        *rivals_in(rows),
    ]


def _has_something_to_lose(rows: pd.DataFrame) -> Check:
    images = rows.drop_duplicates(SAMPLE)
    clean = images["dsc_clean"].mean()
    full = (images["clean_area"] == 1) & (images["mask_area"] < 1)
    status = grade(1 - clean, warn_above=0.5, fail_above=0.8)
    return conclude(
        16,
        "fail" if full.all() else status,
        f"Mean clean DSC {clean:.3f}"
        + (
            f"; {int(full.sum())} of {len(full)} predictions fill the image." if full.any() else "."
        ),
        good="The model segments the clean images, so attacks have something to lower.",
        doubtful="The clean score is low: most of the errors are not due to attacks.",
        bad="The model fails on clean images, so there is no robustness to measure: train it, or "
        "check prompts, masks, threshold and output (probabilities read as logits make every "
        "pixel foreground).",
    )


def _stays_in_the_ball(rows: pd.DataFrame) -> Check:
    rows = rows[rows["norm"].isin(["linf", "l2"])]
    if rows.empty:
        why = "Radii are in units of the normalised image, and rows do not record its scale."
        return Check(2, "not_run", why, "Every image was checked right after its attack.")
    is_l2 = rows["norm"] == "l2"
    length = rows["l2"].where(is_l2, rows["linf"])
    # Single precision rounds every pixel, and an l2 norm accumulates the rounding of all of them.
    roundings = np.where(is_l2, np.sqrt(3 * rows["height"] * rows["width"]), 1.0)
    excess = length - rows["epsilon"] * (1 + 1e-5) - 2.0**-22 * roundings
    outside = int((~(excess <= 0)).sum())
    share = (length / rows["epsilon"].where(rows["epsilon"] > 0)).max()
    longest = f"; the longest perturbation is {percent(share)} of its epsilon" if share >= 0 else ""
    return conclude(
        2,
        "fail" if outside else "pass",
        f"{outside} of {len(rows)} images outside{longest}.",
        good="Every perturbation was measured after its attack, with pixels in [0, 1].",
        doubtful="",
        bad="The stated epsilon is not the one that was used.",
    )


def _grows_with_epsilon(rows: pd.DataFrame) -> Check:
    lines, statuses = [], []
    for name, norm, curve, is_single_step in _curves(rows):
        fitted = isotonic_regression(curve.to_numpy(), increasing=False).x
        violation = float(np.abs(curve.to_numpy() - fitted).max())
        status = grade(violation, warn_above=0.01, fail_above=0.03)
        # One long step can overshoot the region where the gradient is valid; this is no defect.
        statuses.append("warn" if status == "fail" and is_single_step else status)
        lines.append(f"{name} ({norm}) {violation:.3f}")
    if not lines:
        return Check(3, "not_run", "No attack used a gradient.", "Nothing to compare.")
    measured = f"Largest distance of mean DSC from a non-increasing curve: {', '.join(lines)}."
    return conclude(
        3,
        worst(statuses),
        measured,
        good="A larger epsilon never gives a weaker attack, as it should be.",
        doubtful="A larger epsilon gave less damage: a single step overshoots, or there are few "
        "images. Do not interpret single points of the curve.",
        bad="A larger epsilon gave less damage, which an optimised attack must not show: use more "
        "steps or restarts, and look for masked gradients.",
    )


def _curves(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.Series, bool]]:
    """Yield name, norm, mean DSC over epsilon (from 0), and whether it takes a single step.

    Only attacks that used the model's own gradient are considered.
    """
    clean = rows[rows["attack"] == CLEAN]
    for (name, norm), attacked in rows[is_white(rows)].groupby(["attack", "norm"]):
        curve = attacked.groupby("epsilon")["dsc"].mean().drop(0.0, errors="ignore")
        start = clean["dsc"] if len(clean) else attacked["dsc_clean"]
        curve = pd.concat([pd.Series({0.0: start.mean()}), curve.sort_index()])
        yield str(name), str(norm), curve, bool((attacked["backwards"] <= 1).all())


def _beats_noise(rows: pd.DataFrame) -> Check:
    by = [rows["attack"].map(_kind), *(rows[name] for name in SETTING)]
    damage = (rows["dsc_clean"] - rows["dsc"]).groupby(by).mean().unstack("attack")
    if CONTROL not in damage or damage.shape[1] < 2:
        meaning = (
            "Add the attack 'noise', the control: it shows what any perturbation of this size does."
        )
        return Check(5, "not_run", "Noise and another attack are needed.", meaning)
    pairs = pd.DataFrame(
        {"noise": damage[CONTROL], "strongest": damage.drop(columns=CONTROL).max(axis=1)}
    ).dropna()
    judged = pairs[pairs.max(axis=1) >= _VISIBLE]
    if judged.empty:
        measured = f"Neither noise nor attacks cost more than {_VISIBLE} DSC at any epsilon."
        meaning = "Nothing shows that the attacks work: see checks 4, 10 and 17."
        return Check(5, "warn", measured, meaning)
    shares = judged["noise"] / judged["strongest"].clip(lower=1e-9)
    noise, strongest = judged.to_numpy()[int(shares.to_numpy().argmax())]
    return conclude(
        5,
        grade(float(shares.max()), warn_above=0.5, fail_above=0.9),
        _beside_noise(noise, strongest),
        good="The damage comes from the direction of the perturbation, not from its size.",
        doubtful="Random noise does much of the damage; the attacks add little.",
        bad="The attacks are no better than noise: they have no useful gradient, or the model "
        "fails under any perturbation.",
    )


def _beside_noise(noise: float, strongest: float) -> str:
    """Compare the damage of noise with that of the strongest attack, in DSC."""
    if noise <= 0:
        return (
            f"Noise does no damage at any epsilon; the strongest attack takes {strongest:.3f} DSC."
        )
    if strongest <= 0:
        return f"Noise takes {noise:.3f} DSC, and no attack does any damage."
    return (
        f"Noise does at most {percent(noise / strongest)} of the damage of the strongest attack "
        f"({noise:.3f} of {strongest:.3f} DSC)."
    )


def _climbs_the_ladder(rows: pd.DataFrame) -> Check:
    scores = rows.groupby([*SAMPLE, *SETTING, rows["attack"].map(_kind)])["dsc"].min()
    table = scores.unstack("attack")
    present = [kind for kind in LADDER if kind in table]
    pairs = [(weak, strong, table[[weak, strong]].dropna()) for weak, strong in pairwise(present)]
    compared = [pair for pair in pairs if len(pair[2])]
    if not compared:
        measured = f"Found {', '.join(present) or 'none'} of {', '.join(LADDER)}."
        meaning = "Two attacks of different strength are needed at the same epsilon."
        return Check(6, "not_run", measured, meaning)
    behind = {
        f"{strong} weaker than {weak} on {{}} of {len(both)} images": float(
            (both[strong] > both[weak] + LOST).mean()
        )
        for weak, strong, both in compared
    }
    reversed_ = any(
        both[strong].mean() > both[weak].mean() + LOST for weak, strong, both in compared
    )
    status = grade(max(behind.values()), warn_above=0.05, fail_above=0.2)
    return conclude(
        6,
        "fail" if reversed_ else status,
        "; ".join(text.format(percent(share)) for text, share in behind.items()) + ".",
        good="Stronger attacks do at least as much damage, as they should.",
        doubtful="On some images the stronger attack did less damage: give it more steps or "
        "restarts.",
        bad="The stronger attack does less damage: it is set up wrongly, or gradients are masked. "
        "The numbers overstate robustness.",
    )


def _changed_every_output(rows: pd.DataFrame) -> Check:
    attacked = rows[is_white(rows) & (rows["epsilon"] > 0)]
    if attacked.empty:
        return Check(17, "not_run", "No attack used a gradient.", "Nothing to check.")
    still = (attacked["linf"] == 0) | (attacked["loss"] == attacked["loss_clean"])
    broken = ~np.isfinite(attacked[["loss", "loss_clean", "dsc"]]).all(axis=1)
    status = grade(float(still.mean()), warn_above=0.0, fail_above=0.05)
    return conclude(
        17,
        "fail" if broken.any() else status,
        f"{int(still.sum())} of {len(attacked)} attacked images have exactly the loss of the clean "
        f"image, {int(broken.sum())} have a score that is not finite.",
        good="Every attack changed the output of the model.",
        doubtful="A few attacks changed nothing: they had no gradient to follow, and their images "
        "are wrongly counted as robust.",
        bad="Attacks changed nothing or produced NaN: they had no gradient to follow, and their "
        "images are wrongly counted as robust.",
    )


def _kind(name: str) -> str:
    kinds = (CONTROL, *LADDER)
    return next((kind for kind in kinds if name.startswith(kind)), name)
