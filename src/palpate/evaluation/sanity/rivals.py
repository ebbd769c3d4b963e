"""Checks 7 and 8 of the card: black-box and transferred attacks must not beat white-box ones.

If they do, the gradient of the model is masked and its white-box results cannot be trusted.
"""

from dataclasses import dataclass

import pandas as pd

from palpate.evaluation.results.rows import CLEAN
from palpate.evaluation.results.white_box import BLACK_BOX, TRANSFERRED, is_one_of, is_white
from palpate.evaluation.sanity.check import Check, conclude, grade
from palpate.evaluation.sanity.pairing import LOST, SAMPLE, SETTING, percent
from palpate.evaluation.sanity.subject import Subject, mean_dsc

_TOO_MANY = 0.2  # share of images with more damage by the rival attack, above which a check fails


def finds_no_more_by_search(subject: Subject) -> Check:
    """Check 7: Square Attack, which uses no gradient, does no more damage than PGD."""
    white, _ = subject.attacked
    black = subject.square()
    behind = sum(b.row.dsc < w.row.dsc - LOST for b, w in zip(black, white, strict=True))
    share = behind / len(white)
    return _BLACK.judge(
        # Among a few images, a random search may win on one by luck: a warning, not a failure.
        min(share, _TOO_MANY) if behind == 1 else share,
        f"{black[0].row.forwards:.0f} queries of Square Attack beat {subject.steps} steps of PGD "
        f"on {behind} of {len(white)} images; mean DSC {mean_dsc(black):.3f} against "
        f"{mean_dsc(white):.3f}.",
    )


def rivals_in(rows: pd.DataFrame) -> list[Check]:
    """Run checks 7 and 8 on the rows of black-box and transferred attacks, if there are any.

    Attacks are recognised by their names: ``square``, ``spsa``, ``nes``, ``simba`` and
    ``hopskipjump`` are black-box, ``transfer`` and ``from`` are transferred. More may follow after
    a hyphen or space (``spsa-500``, ``from-pranet``). Every other attack that used a gradient
    counts as a white-box attack.
    """
    attacked = rows[rows["attack"] != CLEAN]
    white = attacked[is_white(attacked)]
    return [
        _compare(kind, attacked[of_kind], white)
        for kind in (_BLACK, _TRANSFERRED)
        if (of_kind := is_one_of(attacked["attack"], kind.names)).any()
    ]


@dataclass(frozen=True)
class _Rival:
    """A kind of attack that knows less about the model than a white-box attack."""

    number: int
    names: tuple[str, ...]
    good: str
    bad: str

    def judge(self, share: float, measured: str) -> Check:
        """Grade the share of images on which this kind did more damage than the white-box one."""
        return conclude(
            self.number,
            grade(share, warn_above=0.05, fail_above=_TOO_MANY),
            measured,
            good=self.good,
            doubtful="It did more damage on some images: give the white-box attack more steps or "
            "restarts, and report the worst of both.",
            bad=self.bad,
        )


_BLACK = _Rival(
    7,
    BLACK_BOX,
    good="A search without gradients finds no more than attacks that follow them.",
    bad="A search without gradients does more damage than attacks that follow them: the gradient "
    "is masked, and what looks like robustness is not. Look for saturation, rounding and stages "
    "that cut or bend the gradient.",
)
_TRANSFERRED = _Rival(
    8,
    TRANSFERRED,
    good="Gradients of other models lead to no more damage than the model's own.",
    bad="Gradients of another model do more damage than the model's own, which then tell little: "
    "the gradient is masked, and what looks like robustness is not.",
)


def _compare(kind: _Rival, rivals: pd.DataFrame, white: pd.DataFrame) -> Check:
    """Compare the strongest attack of each kind on every image, and judge the worst epsilon."""
    by = [*SAMPLE, *SETTING]
    scores = {"rival": rivals.groupby(by)["dsc"].min(), "white": white.groupby(by)["dsc"].min()}
    both = pd.DataFrame(scores).dropna()
    if both.empty:
        meaning = "A white-box attack is needed at the same epsilon."
        return Check(kind.number, "not_run", f"Only {_names(rivals)} was run.", meaning)
    behind = (both["rival"] < both["white"] - LOST).groupby(SETTING).mean()
    norm, epsilon = behind.index[int(behind.to_numpy().argmax())]
    return kind.judge(
        behind.max(),
        f"{_names(rivals)} beat {_names(white)} on at most {percent(behind.max())} of the images "
        f"of one epsilon ({norm} {epsilon:.3g}); mean DSC over all {both['rival'].mean():.3f} "
        f"against {both['white'].mean():.3f}.",
    )


def _names(rows: pd.DataFrame) -> str:
    return ", ".join(sorted(rows["attack"].unique()))
