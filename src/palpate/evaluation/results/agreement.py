"""Compares stored rows with the same rows computed again: identical, within rounding, or different.

On one machine, with the same number of threads and the same batches, a row is computed again bit
for bit. Elsewhere sums are taken in another order, and the last digits of the logits differ. That
moves the loss, and sometimes a pixel at the edge of the prediction. An attack multiplies it: it
takes the sign of a gradient, so that a last digit can change the image that it returns. There are
therefore two tolerances, a narrow one for the same image and a wide one for another.

Measured on `palpate/tiny` with eight attacks, with and without the vector instructions of the
processor and with one and two threads: on the same image DSC did not change, and the loss by 1e-4
of its value; where the attack found another image, DSC moved by up to 0.005, NSD by 0.03, the loss
by 11 % and the length of the perturbation by 6 %. The tolerances are wider, because other models
are larger. HD95 has none for another image: a single pixel far away moved it by 63 px.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import inf, isclose, isnan
from typing import Any, Final, Literal, TypeAlias

from palpate.evaluation.results.rows import Row

Status: TypeAlias = Literal["identical", "rounding", "differs"]

_NOT_COMPARED: Final = ("seconds",)
_IMAGE: Final = ("linf", "l2", "psnr", "ssim")  # equal to the last bit if the image is the same
_FLAGS: Final = ("success", "failure", "already", "flat", "steps")  # follow from scores
_MEASURED: Final = (
    *_IMAGE, "clean_area", "area", "loss_clean", "loss", "forwards", "backwards", "score",
    "score_clean", "miou_target", "miou_truth",
)  # fmt: skip
_RELATIVE: Final = ("linf", "l2", "psnr", "loss_clean", "loss", "forwards", "backwards")


@dataclass(frozen=True)
class Tolerance:
    """The largest difference that counts as rounding.

    Attributes:
        share: Of scores and areas, which are shares from 0 to 1.
        pixels: Of other scores, such as distances in pixels.
        relative: Of losses, lengths and passes, relative to the larger of both values.
    """

    share: float
    pixels: float
    relative: float


SAME_IMAGE: Final = Tolerance(share=0.002, pixels=1.0, relative=0.001)
OTHER_IMAGE: Final = Tolerance(share=0.05, pixels=inf, relative=0.25)
_SAME: Final = 1e-5  # relative difference up to which measures of the perturbation are the same


@dataclass(frozen=True)
class Verdict:
    """How a stored row agrees with the same row computed again.

    Attributes:
        status: ``identical``, ``rounding`` (within the tolerance) or ``differs``.
        differing: Values that differ, stored and computed again, by column; with the status
            ``differs`` only those outside the tolerance.
    """

    status: Status
    differing: Mapping[str, tuple[Any, Any]]


def agreement(stored: Mapping[str, Any], again: Mapping[str, Any], tau: float = 0.5) -> Verdict:
    """Compare two rows that should be the same.

    Args:
        stored: Columns of the stored row.
        again: Columns of the same row, computed again.
        tau: DSC at or below which an attack has succeeded.
    """
    names = [name for name in {**stored, **again} if name not in _NOT_COMPARED]
    pairs = {name: (stored.get(name), again.get(name)) for name in names}
    differing = {name: pair for name, pair in pairs.items() if not _equal(*pair)}
    if not differing:
        return Verdict("identical", {})
    same_image = all(_is_near(*pairs[name]) for name in _IMAGE if name in pairs)
    allowed = SAME_IMAGE if same_image else OTHER_IMAGE
    outside = dict(_outside(differing, pairs, allowed, tau))
    return Verdict("differs", outside) if outside else Verdict("rounding", differing)


def _outside(
    differing: Mapping[str, tuple[Any, Any]],
    pairs: Mapping[str, tuple[Any, Any]],
    allowed: Tolerance,
    tau: float,
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    own = {field.name for field in fields(Row)}
    for name, pair in differing.items():
        if name in _FLAGS:
            is_rounding = _may_flip(name, pairs, tau)
        elif name in _MEASURED or name not in own:  # other columns are scores of metrics
            is_rounding = _is_close(*pair, allowed, is_score=name not in _RELATIVE)
        else:
            is_rounding = False
        if not is_rounding:
            yield name, pair


def _may_flip(name: str, pairs: Mapping[str, tuple[Any, Any]], tau: float) -> bool:
    """Whether a flag may differ: only if the score that decides it differs, and over its limit."""
    if name in ("already", "flat", "steps") or pairs.get("score", (None, None))[0] is not None:
        return not _equal(*pairs["score"])
    if name == "failure" and not _equal(*pairs["area"]):
        return True
    return any((old > tau) != (new > tau) for old, new in (pairs["dsc"], pairs["dsc_clean"]))


def _equal(old: Any, new: Any) -> bool:
    if _is_missing(old) or _is_missing(new):
        return _is_missing(old) and _is_missing(new)
    return bool(old == new)


def _is_close(old: Any, new: Any, allowed: Tolerance, *, is_score: bool) -> bool:
    if _is_missing(old) or _is_missing(new):
        return False
    if not is_score:
        return isclose(old, new, rel_tol=allowed.relative)
    is_share = max(abs(old), abs(new)) <= 1
    return bool(abs(old - new) <= (allowed.share if is_share else allowed.pixels))


def _is_near(old: Any, new: Any) -> bool:
    return _equal(old, new) or isclose(old, new, rel_tol=_SAME)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))
