"""The last table of the page: one line per image of the run."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from palpate.reporting.labels import epsilon_label
from palpate.reporting.numbers.checked_rows import IMAGE, records
from palpate.reporting.numbers.focus import Focus


@dataclass(frozen=True)
class Line:
    """One image and prompt under the focus attack at every radius."""

    facet: str
    key: str
    name: str
    group: str
    prompt: str
    mask_area: float
    clean: float
    attacked: tuple[float | None, ...]
    drop: float | None
    failure: str


def radii(rows: pd.DataFrame, focus: Focus | None) -> list[float]:
    """The radii of the focus attack, from small to large."""
    return [] if focus is None else sorted(_of(rows, focus)["epsilon"].unique())


def lines(rows: pd.DataFrame, focus: Focus | None) -> list[Line]:
    """One line per image, the largest drop first; without attacks, the lowest clean DSC first."""
    images = rows.drop_duplicates(IMAGE)
    if focus is None:
        found = [_line(image, (), None, "none") for image in records(images)]
        return sorted(found, key=lambda line: line.clean)
    some = _of(rows, focus)
    table = some.pivot(index=IMAGE, columns="epsilon", values="dsc")
    shown = radii(rows, focus)
    failures = some[some["epsilon"] == focus.epsilon].set_index(IMAGE)["failure"].to_dict()
    known = table.reindex(pd.MultiIndex.from_frame(images[IMAGE]))
    found = []
    for image, values in zip(records(images), known.to_numpy(), strict=True):
        scores = tuple(None if pd.isna(value) else float(value) for value in values)
        at_focus = scores[shown.index(focus.epsilon)]
        drop = None if at_focus is None else image["dsc_clean"] - at_focus
        failure = failures.get(tuple(image[name] for name in IMAGE), "none")
        found.append(_line(image, scores, drop, failure))
    return sorted(found, key=lambda line: -2.0 if line.drop is None else line.drop, reverse=True)


def radius_labels(rows: pd.DataFrame, focus: Focus | None) -> list[str]:
    """Headings of the columns of :attr:`Line.attacked`."""
    return [epsilon_label(r, focus.norm) for r in radii(rows, focus)] if focus else []


def _line(
    image: dict[str, Any], scores: tuple[float | None, ...], drop: float | None, failure: str
) -> Line:
    return Line(
        facet=str(image["facet"]),
        key=str(image["key"]),
        name=str(image["image_name"]),
        group=str(image["group"]),
        prompt=str(image["prompt"]),
        mask_area=float(image["mask_area"]),
        clean=float(image["dsc_clean"]),
        attacked=scores,
        drop=drop,
        failure=failure,
    )


def _of(rows: pd.DataFrame, focus: Focus) -> pd.DataFrame:
    return rows[(rows["attack"] == focus.attack) & (rows["norm"] == focus.norm)]
