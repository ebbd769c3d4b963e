"""The tables of docs/prompts.md."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from prompt_checks import Case
from published_prompts import colour_claimed, read_published, shape_claimed
from scipy import ndimage

from palpate.data.wording import (
    PUBLISHED,
    TRUE,
    Attributes,
    Rule,
    describe_colour,
    describe_mask,
    facts_in_name,
)
from palpate.text.lexicon import lexicon
from palpate.text.positions import place_at

_RULES = {"palpate's": TRUE, "the published, as decoded": PUBLISHED}
_LIT = 8  # grey value of the corner of a copy that one white pixel of the original leaves
# Width and height in pixels of data sets of which only the published boxes are available.
_SIZES = {
    "clinicdb_polyp": (384, 288),
    "colondb_polyp": (574, 500),
    "etis_polyp": (1225, 966),
    "bkai_polyp": (1280, 959),
}


def agreement(found: Mapping[str, Sequence[Case]]) -> pd.DataFrame:
    """Number, size and place on the test splits, under palpate's rule and the published one."""
    rows = []
    for name, every in found.items():
        test = [case for case in every if case.split == "test"]
        for title, rule in _RULES.items():
            same = [_same(case, case.found(rule)) for case in test]
            rows.append({"set": name, "rule": title, "n": len(test), **_percent(same)})
    return pd.DataFrame(rows)


def size_rules(found: Mapping[str, Sequence[Case]]) -> pd.DataFrame:
    """Agreement of thresholds between small, medium and large, by data set and split."""
    cuts = ((0.08, 0.3), (0.0815, 0.3015), (0.085, 0.28), (0.1, 0.3), (1 / 12, 1 / 3))
    rules = {
        f"{100 * small:.3g} % and {100 * large:.3g} % of the image": replace(
            TRUE, small=small, large=large
        )
        for small, large in cuts
    }
    return _by_rule(found, {name: _size_checker(rule) for name, rule in rules.items()})


def place_rules(found: Mapping[str, Sequence[Case]]) -> pd.DataFrame:
    """Agreement of rules for the place, on masks with one component."""
    alone = {
        name: [case for case in every if case.claims.number == 1 == case.found(TRUE).number]
        for name, every in found.items()
    }
    left, right = _fitted([c for every in alone.values() for c in every if c.split == "train"])
    rules: dict[str, Callable[[Case], bool]] = {
        "centre of mass, thirds of width and height": lambda c: _place_is(c, _centre_of_mass(c)),
        "middle of the box, thirds of width and height (palpate's)": _checker(TRUE),
        f"middle of the box, width cut at {left:.2f} and {right:.2f}, fitted": (
            lambda c: _place_is(c, _cut(c, left, right))
        ),
        "fullest ninth": _checker(replace(TRUE, whole=0.0)),
        "middle of the box, thirds of the height both ways": _checker(
            replace(PUBLISHED, whole=2.0)
        ),
        "the same, but the ninth that holds 80 % of it": _checker(replace(PUBLISHED, whole=0.8)),
        "the same, but the ninth that holds 87 % of it (decoded)": _checker(PUBLISHED),
        "the same, but the ninth that holds 95 % of it": _checker(replace(PUBLISHED, whole=0.95)),
    }
    return _by_rule(alone, rules)


def boxes(published: Path) -> pd.DataFrame:
    """Agreement of places in data sets without images, from their published boxes."""
    rows = []
    for name, (width, height) in _SIZES.items():
        alone = [e for e in read_published(published / name) if e.claims and e.claims.number == 1]
        same = []
        for each in alone:
            assert each.box is not None
            assert each.claims is not None
            mask = np.zeros((height, width), dtype=bool)
            left, top, right, bottom = each.box
            mask[top : bottom + 1, left : right + 1] = True
            same.append(
                {
                    "thirds of width and height": describe_mask(mask).places == each.claims.places,
                    "thirds of the height both ways": describe_mask(
                        mask, replace(PUBLISHED, whole=2.0)
                    ).places
                    == each.claims.places,
                    "the same, but the ninth that holds 87 %": describe_mask(mask, PUBLISHED).places
                    == each.claims.places,
                }
            )
        rows.append({"set": name, "n": len(alone), **_percent(same)})
    return pd.DataFrame(rows)


def corner(kvasir: Sequence[Case]) -> pd.DataFrame:
    """The effect of the white pixel in the top left corner of masks of Kvasir-SEG."""
    lit = {case.name for case in kvasir if _corner(case.grey) >= _LIT}
    rows = []
    for title, some in (
        ("corner of the mask white", [case for case in kvasir if case.name in lit]),
        ("corner of the mask black", [case for case in kvasir if case.name not in lit]),
    ):
        same = [_same(case, case.found(PUBLISHED)) for case in some]
        without = [_same(_without_corner(case), case.found(PUBLISHED)) for case in some]
        more = sum(case.claims.number == case.found(PUBLISHED).number + 1 for case in some)
        rows.append(
            {
                "masks": title,
                "n": len(some),
                "one part more published": more,
                "number, %": _percent(same)["number, %"],
                "place, %": _percent(same)["place, %"],
                "number, corner left out, %": _percent(without)["number, %"]
                if title.endswith("white")
                else "–",
                "place, corner left out, %": _percent(without)["place, %"]
                if title.endswith("white")
                else "–",
            }
        )
    return pd.DataFrame(rows)


def answers(data: Path, found: Mapping[str, Sequence[Case]]) -> pd.DataFrame:
    """Agreement on shape and colour with a VQA model, and on facts in names of CAMUS files."""
    rows = []
    for name, every in found.items():
        test = [case for case in every if case.split == "test"]
        shapes = [
            _concept("shape", shape_claimed(c.published.prompts)) == c.found(TRUE).shape
            for c in test
            if name != "busi"
        ]
        colours = [_colour_agrees(data / name, c) for c in test if name != "busi"]
        if shapes:
            rows.append(_answer(name, "shape", shapes))
            rows.append(_answer(name, "colour", colours))
    rows.extend(_camus(data))
    return pd.DataFrame(rows)


def speed(found: Mapping[str, Sequence[Case]]) -> str:
    """Masks described per second on one core."""
    masks = [np.asarray(Image.fromarray(c.mask).resize((352, 352))) for c in found["isic"][:200]]
    start = time.process_time()
    for mask in masks:
        describe_mask(mask)
    rate = len(masks) / (time.process_time() - start)
    return (
        f"`describe_mask` takes {rate:.0f} masks of 352 x 352 pixels per second of processor time."
    )


def _same(case: Case, found: Attributes) -> dict[str, bool]:
    return {
        "number": found.number == case.claims.number,
        "size": set(found.sizes) == set(case.claims.sizes),
        "place": sorted(found.places) == sorted(case.claims.places),
    }


def _percent(same: Sequence[Mapping[str, bool]]) -> dict[str, str]:
    frame = pd.DataFrame(same)
    return {f"{name}, %": f"{100 * frame[name].mean():.1f}" for name in frame}


def _by_rule(
    found: Mapping[str, Sequence[Case]], rules: Mapping[str, Callable[[Case], bool]]
) -> pd.DataFrame:
    rows = []
    for title, holds in rules.items():
        row = {"rule": title}
        for name, every in found.items():
            for split in ("train", "test"):
                some = [holds(case) for case in every if case.split == split]
                row[f"{name} {split}, % (n = {len(some)})"] = f"{100 * np.mean(some):.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def _size_checker(rule: Rule) -> Callable[[Case], bool]:
    return lambda case: _same(case, case.found(rule))["size"]


def _checker(rule: Rule) -> Callable[[Case], bool]:
    return lambda case: case.found(rule).places[:1] == case.claims.places


def _place_is(case: Case, place: str) -> bool:
    return case.claims.places == (place,)


def _centre_of_mass(case: Case) -> str:
    y, x = ndimage.center_of_mass(case.mask)
    height, width = case.mask.shape
    return place_at((x + 0.5) / width, (y + 0.5) / height)


def _middle(case: Case) -> tuple[float, float]:
    rows, columns = (np.flatnonzero(case.mask.any(axis=axis)) for axis in (1, 0))
    height, width = case.mask.shape
    return (columns[0] + columns[-1] + 1) / 2 / width, (rows[0] + rows[-1] + 1) / 2 / height


def _cut(case: Case, left: float, right: float) -> str:
    x, y = _middle(case)
    return place_at((0.5 + (x >= left) + (x >= right)) / 3, y)


def _fitted(training: Sequence[Case]) -> tuple[float, float]:
    """Divisions of the width with the best agreement on the training splits."""
    middles = np.array([_middle(case)[0] for case in training])
    columns = np.array([_column(case.claims.places[0]) for case in training])

    def right(cuts: tuple[float, float]) -> float:
        return float(np.mean((middles >= cuts[0]).astype(int) + (middles >= cuts[1]) == columns))

    grid = [(a, b) for a in np.arange(0.15, 0.4, 0.01) for b in np.arange(0.42, 0.75, 0.01)]
    return max(grid, key=right)


def _column(place: str) -> int:
    return 0 if "left" in place else 2 if "right" in place else 1


def _corner(grey: NDArray[np.uint8]) -> int:
    return int(grey[0, 0])


def _without_corner(case: Case) -> Case:
    places = list(case.claims.places)
    if "top left" in places and case.claims.number > 1:
        places.remove("top left")
        claims = case.claims._replace(number=case.claims.number - 1, places=tuple(places))
        return replace(case, claims=claims)
    return case


def _concept(attribute: str, said: str) -> str | None:
    """The usual word for an answer, if the lexicon has it."""
    for family in lexicon().attributes[attribute]:
        for concept in family:
            if said.lower() in concept:
                return concept[0]
    return None


def _colour_agrees(folder: Path, case: Case) -> bool:
    image = Image.open(
        folder / "images" / case.published.mask_name.replace("_Segmentation.png", ".jpg")
    )
    wide = image.convert("RGB").resize(case.mask.shape[::-1])
    said = _concept("colour", colour_claimed(case.published.prompts))
    return describe_colour(np.asarray(wide), case.mask) == said


def _answer(name: str, attribute: str, same: Sequence[bool]) -> dict[str, object]:
    return {
        "set": name,
        "attribute": attribute,
        "n": len(same),
        "agree, %": f"{100 * np.mean(same):.1f}",
    }


def _camus(data: Path) -> Iterable[dict[str, object]]:
    shapes, views, phases = [], [], []
    for each in read_published(data / "published-annotations" / "camus"):
        path = data / "camus" / "masks" / each.mask_name
        # The names of the published test split are the same, but its patients are others.
        if each.split != "val" or not path.is_file():
            continue
        mask = np.asarray(Image.open(path).convert("L")) > 127
        shapes.append(describe_mask(mask).shape == _concept("shape", shape_claimed(each.prompts)))
        facts = facts_in_name("camus", each.mask_name)
        text = str(each.prompts["p3"])
        views.append({"2CH": "two", "4CH": "four"}[facts["view"]] + "-chamber" in text)
        phases.append({"ED": "diastole", "ES": "systole"}[facts["phase"]] in text)
    return [
        _answer("camus", "shape", shapes),
        _answer("camus", "view, from the name", views),
        _answer("camus", "phase, from the name", phases),
    ]
