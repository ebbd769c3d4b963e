"""Checks 1, 4, 14 and 15 of the sanity card: properties that must hold for every model."""

import torch

from palpate.evaluation.protocol.storage import as_png
from palpate.evaluation.sanity.check import Check, conclude, grade, worst
from palpate.evaluation.sanity.subject import Subject, mean_dsc


def leaves_alone_at_zero(subject: Subject) -> Check:
    """Check 1: an attack at epsilon 0 returns the same image and the same prediction."""
    results = subject.pgd(epsilon=0.0, steps=2)
    clean = torch.cat([batch.images.flatten() for batch in subject.batches])
    moved = int((torch.cat([result.image.flatten() for result in results]) != clean).sum())
    answers = [answer for batch in subject.clean for answer in batch]
    changed = sum(
        result.row.loss != answer.loss or bool((result.prediction != answer.prediction).any())
        for result, answer in zip(results, answers, strict=True)
    )
    return conclude(
        1,
        "fail" if moved or changed else "pass",
        f"{moved} of {len(clean)} pixel values and {changed} of {len(answers)} masks changed.",
        good="Every change measured at a larger epsilon is due to the perturbation.",
        doubtful="",
        bad="An attack with epsilon 0 changes the result: clean and attacked images are processed "
        "differently, or the model is random. No number can be attributed to an attack.",
    )


def breaks_without_bound(subject: Subject) -> Check:
    """Check 4: an attack at epsilon 1 destroys the segmentation."""
    score = mean_dsc(subject.pgd(epsilon=1.0, steps=subject.steps))
    return conclude(
        4,
        grade(score, warn_above=0.05, fail_above=0.2),
        f"Mean DSC {score:.3f} at epsilon 1 in {subject.steps} steps.",
        good="Without a bound the attack succeeds, so where it fails, epsilon is the reason.",
        doubtful="Part of the segmentation survives an attack without a bound: use more steps.",
        bad="The segmentation survives an attack that may replace the whole image, which is "
        "impossible for a working attack: the attack does not work on this model.",
    )


def survives_storage(subject: Subject) -> Check:
    """Check 14: an adversarial image scores the same after a round trip through 8-bit PNG."""
    results, _ = subject.attacked
    images = iter(results)
    shifts: list[float] = []
    for batch in subject.batches:
        part = [next(images) for _ in batch.cases]
        again = subject.scorer.predict(batch, torch.stack([as_png(r.image) for r in part]))
        shifts += [abs(a.dsc - r.row.dsc) for a, r in zip(again, part, strict=True)]
    mean = sum(shifts) / len(shifts)
    return conclude(
        14,
        grade(mean, warn_above=0.02, fail_above=0.1),
        f"Stored as 8-bit PNG, DSC changes by {mean:.4f} on average, {max(shifts):.4f} at most.",
        good="The damage is in the image, not in decimals that an 8-bit file cannot hold.",
        doubtful="Part of the damage is lost when images are stored: state which ones were scored.",
        bad="The damage is lost when images are stored: report the score of the stored image, or "
        "attack on the 8-bit lattice.",
    )


def answers_alike(subject: Subject) -> Check:
    """Check 15: an image gets the same logits in every forward pass and in every batch."""
    gap, company = subject.largest_gap, subject.gap_of_company
    again = grade(gap, warn_above=0.0, fail_above=1e-3)
    beside = grade(company, warn_above=1e-3, fail_above=1e-2)
    measured = (
        f"Logits of the same images differ by up to {gap:.3g}, alone and in a batch by up to "
        f"{100 * company:.2g} % of the largest."
    )
    if beside == "fail" and again != "fail":
        return Check(
            15,
            "fail",
            measured,
            "The output for an image depends on the other images of its batch, as with batch "
            "statistics: scores and attacks depend on the batch size. Use stored statistics, or "
            "batches of 1.",
        )
    return conclude(
        15,
        worst([again, beside]),
        measured,
        good="The model is deterministic, and images of a batch do not affect each other.",
        doubtful="Logits differ in their last digits, as some kernels of accelerators do.",
        bad="The model is random: one gradient is only a sample of its gradient. Average the "
        "attack over the randomness (EOT) and report it, or switch the randomness off.",
    )
