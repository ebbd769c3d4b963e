"""Sets of prompt templates: those of ``wordings.yaml``, and users' files."""

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

NOTHING = "p0"  # the level of no text, which every wording has
EMPTY = "empty"  # the text of an empty mask
_ABSENT = "no {structure}"
_OTHERS = "thing"  # the wording of data sets that the file does not know
_RESERVED = ("random", "all", "override")  # ways to choose a level, see prompt_policy
_LONGEST = 1_000_000  # bytes of a file of templates


class Wording(NamedTuple):
    """The prompt templates of a data set.

    Attributes:
        levels: By level, one template or several.
        empty: For all levels but ``p0`` where the mask is empty.
    """

    levels: Mapping[str, tuple[Template, ...]]
    empty: Template

    def asks_for(self, field: str) -> bool:
        """Whether any template has this field."""
        return any(field in template.fields for texts in self.levels.values() for template in texts)


@cache
def wording_of(dataset: str) -> Wording:
    """The built-in templates for a data set; generic ones if it has none of its own."""
    return _wording(_data()["wordings"][_data()["sets"].get(dataset, _OTHERS)], FIELDS)


def known_sets() -> tuple[str, ...]:
    """Data sets with templates of their own."""
    return tuple(_data()["sets"])


def read_wording(path: Path, facts: Collection[str] = ()) -> Wording:
    """Read a user's templates: YAML or JSON that maps levels to a text or a list of texts.

    ``p0`` is the empty text whether or not the file has it; ``empty`` is the text of an empty mask,
    by default "no {structure}".

    Args:
        path: The file.
        facts: Names of facts that the data have, besides the usual fields.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a valid file of templates; says where.
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
    """Singular and plural name of a structure in prompts.

    >>> spoken_names("left ventricle")[0], spoken_names("skin lesion")[1]
    ('left ventricular cavity', 'skin lesions')
    >>> spoken_names("pleural_effusion")[0]
    'pleural effusion'
    """
    plain = " ".join(structure.replace("_", " ").split())
    one, several = _data()["names"].get(plain.lower(), (plain, f"{plain}s"))
    return one, several


def general_facts(structure: str) -> tuple[str, ...]:
    """General facts about a structure, to follow "which"; empty if none are known."""
    return tuple(_data()["general"].get(structure.lower(), ()))


def spellings(field: str) -> Mapping[str, str]:
    """Words of a field by their spellings in data sets; empty if any word is allowed."""
    words = _data()["facts"].get(field, {})
    return {said: word for word, others in words.items() for said in (word, *others)}


def pattern_of_names(dataset: str) -> re.Pattern[str] | None:
    """Regular expression for facts in published file names, as named groups."""
    pattern = _data()["in_names"].get(dataset)
    return None if pattern is None else re.compile(pattern)


def colour_samples() -> list[tuple[str, list[int]]]:
    """Names of colours with 8-bit sRGB values; a name may occur several times."""
    return [(word, rgb) for word, samples in _data()["colours"].items() for rgb in samples]


@cache
def _data() -> dict[str, Any]:
    file = files("palpate.data.wording").joinpath("wordings.yaml")
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def _wording(given: object, known: Collection[str]) -> Wording:
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
