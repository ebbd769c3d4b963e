"""COCO: images with polygons or run lengths in a JSON file; one mask per category.

The mask of a category is the union of all its objects in an image, crowds included. Categories
without objects in an image are omitted, unless the option ``empty`` keeps them as empty masks. If
there are several JSON files, their names or folders determine the split
(``instances_train2017.json``, ``valid/_annotations.coco.json``). COCO does not identify patients:
the option ``group`` is a regular expression whose first group, or else whole match, is the patient
in the name of an image. By default this is a number after ``patient``, ``subject``, ``sub``,
``pat`` or ``case``; any other image is its own patient.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from palpate.data.prepare.converter import Converter, WrongLayout
from palpate.data.prepare.drawn import Drawing, drawn_mask
from palpate.data.prepare.item import Item
from palpate.data.prepare.metadata import read_json
from palpate.data.prepare.naming import file_stem, patient_of, split_of
from palpate.data.prepare.outlines import from_polygons, from_runs
from palpate.data.prepare.pictures import read_image
from palpate.data.prepare.source import Source
from palpate.data.problems import refuse

_NO_VALUES = (
    "COCO has outlines, whose pixels have no values: a category is a structure under its name. For "
    "ignored pixels, export label maps (PNG) and prepare them with `pairs` and --mask.ignore."
)
_LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class _File:
    """A JSON file whose lists of images, annotations and categories have been checked."""

    source: Source
    name: str
    split: str | None
    categories: Mapping[Any, str]
    images: Mapping[Any, dict[str, Any]]
    objects: Mapping[tuple[Any, Any], list[dict[str, Any]]]  # by image and category

    @property
    def label(self) -> str:
        return self.source.label(self.name)


def find(source: Source, *, group: str = "", empty: str = "no") -> list[Item]:
    """Find one item for every category in every image.

    Args:
        source: COCO JSON files and their images, in any folder.
        group: Regular expression for the patient in the name of an image.
        empty: ``yes`` keeps categories without an object in an image.

    Raises:
        WrongLayout: If there is no JSON file in the format of COCO.
        ValueError: If a file violates this format, or images are missing; the problems are listed.
    """
    if empty not in ("yes", "no"):
        raise ValueError(f"Expected the option empty to be yes or no, got {empty!r}.")
    files = _unless_alone(_files(source))
    if not files:
        raise WrongLayout(
            f"Expected a JSON file with {', '.join(_LISTS)} in {source.path}, found none. Export "
            "the annotations as COCO, instances or segmentation, not captions or keypoints."
        )
    places, items, problems = _places(source), list[Item](), list[str]()
    for file in files:
        for number, image in file.images.items():
            try:
                picture = _picture(file, image, places)
                items += _items(file, number, image, picture, group, keep=empty == "yes")
            except ValueError as error:
                problems.append(f"{file.label}: {image.get('file_name')!r}: {error}")
    refuse(problems, "Expected COCO annotations with their images", remedy="Export the set again.")
    return _told_apart(items)


def _files(source: Source) -> list[_File]:
    names = [name for name in source.names if name.lower().endswith(".json")]
    contents = {name: read_json(source, name) for name in names}
    ours = {
        name: content
        for name, content in contents.items()
        if isinstance(content, dict) and content.keys() >= {"images", "annotations"}
    }
    return [_file(source, name, content) for name, content in ours.items()]


def _unless_alone(files: list[_File]) -> list[_File]:
    """Remove the split of all files unless they are of several splits."""
    if len({file.split for file in files}) > 1:
        return files
    return [replace(file, split=None) for file in files]


def _file(source: Source, name: str, content: dict[str, Any]) -> _File:
    label = source.label(name)
    for part in _LISTS:
        listed = content.get(part)
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise ValueError(
                f"Expected a list of {part} in {label}, got {str(listed)[:60]}. Export it as COCO "
                "with its categories."
            )
    categories = {_number(entry, "id"): entry.get("name") for entry in content["categories"]}
    images = {_number(entry, "id"): entry for entry in content["images"]}
    objects: dict[tuple[Any, Any], list[dict[str, Any]]] = defaultdict(list)
    problems = _repeated(content["images"], "image") + _repeated(content["categories"], "category")
    problems += [f"category {n}: no name" for n, name in categories.items() if not _text(name)]
    for entry in content["annotations"]:
        image, category = _number(entry, "image_id"), _number(entry, "category_id")
        if image not in images or category not in categories:
            problems.append(f"annotation {entry.get('id')}: image {image}, category {category}")
        else:
            objects[image, category].append(entry)
    refuse(
        problems,
        f"Expected annotations of images and categories listed in {label}, each once",
        remedy="Export it again with all of its categories.",
    )
    named = {number: str(told) for number, told in categories.items()}
    return _File(source, name, split_of(name), named, images, objects)


def _number(entry: Mapping[str, Any], key: str) -> int | str | None:
    """The id of an entry; None if it is neither a number nor a text."""
    value = entry.get(key)
    return value if isinstance(value, int | str) else None


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _repeated(entries: list[dict[str, Any]], kind: str) -> list[str]:
    numbers = {_number(entry, "id") for entry in entries}
    if None in numbers or len(numbers) < len(entries):
        return [f"{kind}: ids are missing or not unique"]
    return []


def _places(source: Source) -> dict[str, list[str]]:
    """Members by their last part."""
    places: dict[str, list[str]] = defaultdict(list)
    for name in source.names:
        places[PurePosixPath(name).name].append(name)
    return places


def _picture(file: _File, image: dict[str, Any], places: Mapping[str, list[str]]) -> str:
    """File of an image: the best match of ``file_name``, split and folder of the JSON file."""
    wanted = image.get("file_name")
    if not isinstance(wanted, str) or not wanted:
        raise ValueError("expected a file_name")
    parts = PurePosixPath(wanted.replace("\\", "/")).parts
    found = [n for n in places.get(parts[-1], []) if not n.lower().endswith(".json")]
    ends = [name for name in found if PurePosixPath(name).parts[-len(parts) :] == parts]
    ranked = sorted(ends or found, key=lambda name: (*_distance(file, name), name))
    if not ranked:
        raise ValueError("there is no such image")
    if len(ranked) > 1 and _distance(file, ranked[0]) == _distance(file, ranked[1]):
        raise ValueError(f"it may be {ranked[0]} or {ranked[1]}; keep one")
    return ranked[0]


def _distance(file: _File, name: str) -> tuple[bool, bool]:
    """Rank of a candidate: files of the same split first, then those beside the JSON file."""
    beside = PurePosixPath(name).is_relative_to(PurePosixPath(file.name).parent)
    return file.split is not None and split_of(name) != file.split, not beside


def _items(
    file: _File, number: Any, image: dict[str, Any], picture: str, group: str, *, keep: bool
) -> Iterator[Item]:
    for category, structure in file.categories.items():
        objects = file.objects.get((number, category), [])
        if objects or keep:
            yield _item(file, image, picture, structure, objects, group)


def _item(
    file: _File,
    image: dict[str, Any],
    picture: str,
    structure: str,
    objects: list[dict[str, Any]],
    group: str,
) -> Item:
    width, height = image.get("width"), image.get("height")
    if not (isinstance(width, int) and isinstance(height, int) and min(width, height) > 0):
        raise ValueError(f"expected a width and a height, got {width} and {height}")
    stem = file_stem(str(image["file_name"]))
    parts = tuple(_drawing(entry) for entry in objects)
    label = f"{file.label}: {image['file_name']}, {structure}"
    return Item(
        image_name=stem + PurePosixPath(picture).suffix,
        mask_name=f"{file_stem(structure)}/{stem}.png",
        group=patient_of(stem, group),
        structure=structure.replace("_", " "),
        split=file.split,
        members=(picture, file.name),
        read_image=partial(read_image, file.source, picture),
        read_mask=partial(drawn_mask, file.source, picture, parts, label, (width, height)),
        original=picture,
        facts={"objects": str(len(objects))},
    )


def _drawing(entry: dict[str, Any]) -> Drawing:
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, dict):
        return from_runs, segmentation
    if isinstance(segmentation, list) and segmentation:
        return from_polygons, segmentation
    raise ValueError(
        f"expected a segmentation in annotation {entry.get('id')}, got {str(segmentation)[:40]}; a "
        "box alone is not enough"
    )


def _told_apart(items: list[Item]) -> list[Item]:
    """Add the split to the names of images that have the same name in several files."""
    pictures: dict[str, set[str | None]] = defaultdict(set)
    for item in items:
        pictures[item.image_name].add(item.original)
    return [
        item
        if len(pictures[item.image_name]) == 1
        else replace(
            item,
            image_name=f"{item.split}_{item.image_name}",
            mask_name=re.sub(r"([^/]+)$", rf"{item.split}_\1", item.mask_name),
        )
        for item in items
    ]


COCO = Converter(
    "coco",
    "coco",
    find,
    options={"group": "", "empty": "no"},
    instead=dict.fromkeys(("values", "ignore"), _NO_VALUES),
    known_rest={
        ".": "images without an object in the JSON (of those listed there, the option "
        "empty yes keeps an empty mask)"
    },
)
