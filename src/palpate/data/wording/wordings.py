"""Sets of prompt templates, from ``wordings.yaml`` and from users' files."""

import re
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from palpate.config_io import load_yaml
from palpate.data.wording.templates import FIELDS, Template, parse_template
from palpate.errors import yaml_fault

NOTHING = "p0"  # level of the empty prompt, which every wording has
EMPTY = "empty"  # key of the text for empty masks
_ABSENT = "no {structure}"  # default text for empty masks
_OTHERS = "thing"  # wording of data sets that are not in wordings.yaml
_RESERVED = ("random", "all", "override")  # names with a meaning in prompt_policy
_LONGEST = 1_000_000  # largest size of a file of templates, in bytes


class Wording(NamedTuple):
    """The prompt templates of a data set.

    Attributes:
        levels: One or several templates by level.
        empty: Template of all levels except ``p0`` for an empty mask.
    """

    levels: Mapping[str, tuple[Template, ...]]
    empty: Template

    def asks_for(self, field: str) -> bool:
        """Whether any template contains this field."""
        return any(field in template.fields for texts in self.levels.values() for template in texts)


@cache
def wording_of(dataset: str) -> Wording:
    """Built-in templates of a data set; generic ones if it has none of its own."""
    return _wording(_data()["wordings"][_data()["sets"].get(dataset, _OTHERS)], FIELDS)


def known_sets() -> tuple[str, ...]:
    """Names of the data sets with their own templates."""
    return tuple(_data()["sets"])


def read_wording(path: Path, facts: Collection[str] = ()) -> Wording:
    """Read a user's templates: YAML or JSON that maps levels to a text or a list of texts.

    ``p0`` is the empty text and may be omitted. ``empty`` is the text for empty masks, by default
    "no {structure}".

    Args:
        path: The file.
        facts: Names of facts in the annotations that templates may use besides ``FIELDS``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a valid file of templates; names the place.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file of prompt templates, but {path} is not there.")
    if path.stat().st_size > _LONGEST:
        raise ValueError(f"Expected prompt templates in {path}, got more than {_LONGEST} bytes.")
    try:
        given = load_yaml(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Expected YAML in {path}, but: {yaml_fault(error)}. Put texts with brackets into "
            "quotation marks."
        ) from error
    try:
        return _wording(given, tuple(dict.fromkeys((*FIELDS, *facts))))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def spoken_names(structure: str) -> tuple[str, str]:
    """Singular and plural of the name of a structure in prompts.

    >>> spoken_names("left ventricle")[0], spoken_names("skin lesion")[1]
    ('left ventricular cavity', 'skin lesions')
    >>> spoken_names("pleural_effusion")[0]
    'pleural effusion'
    """
    plain = " ".join(structure.replace("_", " ").split())
    one, several = _data()["names"].get(plain.lower(), (plain, f"{plain}s"))
    return one, several


def general_facts(structure: str) -> tuple[str, ...]:
    """General facts about a structure, each a clause that follows "which"; empty if unknown."""
    return tuple(_data()["general"].get(structure.lower(), ()))


def spellings(field: str) -> Mapping[str, str]:
    """Word for each spelling of a field in data sets; empty if any word is allowed."""
    words = _data()["facts"].get(field, {})
    return {said: word for word, others in words.items() for said in (word, *others)}


def pattern_of_names(dataset: str) -> re.Pattern[str] | None:
    """Regular expression with a named group for each fact in published file names, or None."""
    pattern = _data()["in_names"].get(dataset)
    return None if pattern is None else re.compile(pattern)


def colour_samples() -> list[tuple[str, list[int]]]:
    """Colour words with 8-bit sRGB values; a word may occur several times."""
    return [(word, rgb) for word, samples in _data()["colours"].items() for rgb in samples]


@cache
def _data() -> dict[str, Any]:
    file = files("palpate.data.wording").joinpath("wordings.yaml")
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def _wording(given: object, known: Collection[str]) -> Wording:
    """Check and parse templates by level; ``known`` are the names of the fields."""
    if not isinstance(given, dict) or not set(given) - {EMPTY, NOTHING}:
        raise ValueError(
            f"Expected levels such as p1 with a text or a list of texts each, got "
            f"{str(given)[:60]!r}."
        )
    levels = {name: _texts(name, texts, known) for name, texts in given.items()}
    empty = levels.pop(EMPTY, (parse_template(_ABSENT),))
    if len(empty) != 1:
        raise ValueError(f"Expected one text for {EMPTY!r}, got {len(empty)}.")
    return Wording({NOTHING: (parse_template(""),), **levels}, empty[0])


def _texts(level: object, given: object, known: Collection[str]) -> tuple[Template, ...]:
    if not isinstance(level, str) or level in _RESERVED:
        raise ValueError(
            f"Expected the name of a level such as p1 and none of {', '.join(_RESERVED)}, got "
            f"{level!r}."
        )
    texts: list[Any] = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"Expected a text or a list of texts at level {level!r}, got {str(given)[:60]!r}. Put "
            "texts with brackets into quotation marks."
        )
    if level != NOTHING and not all(text.strip() for text in texts):
        raise ValueError(f"Expected a text at level {level!r}, got an empty one.")
    try:
        return tuple(parse_template(text, known) for text in texts)
    except ValueError as error:
        raise ValueError(f"Level {level!r}: {error}") from error
