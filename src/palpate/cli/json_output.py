"""The option ``--json`` of all commands that print a table: the same content for scripts."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from palpate.atomic import write_text

_OPTION, _STANDARD_OUTPUT, _SUFFIX = "--json", "-", ".json"


def with_file(words: Sequence[str]) -> list[str]:
    """Give ``--json`` its value: the file that follows, or ``-`` for standard output.

    Only a name that ends in ``.json`` is a file, so that no other argument is overwritten.

    >>> with_file(["--json", "a.json", "x"]), with_file(["--json", "net.py:make"])
    (['--json', 'a.json', 'x'], ['--json', '-', 'net.py:make'])
    """
    found = []
    for word, after in zip_longest(words, words[1:], fillvalue=""):
        found.append(word)
        if word == _OPTION and after != _STANDARD_OUTPUT and not after.endswith(_SUFFIX):
            found.append(_STANDARD_OUTPUT)
    return found


def take_json(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Split ``--json`` off the words of a command whose other options are settings of a recipe.

    Returns:
        The file, ``-`` for standard output, or None; and the other words.
    """
    rest = with_file(words)
    for index, word in enumerate(rest):
        if word == _OPTION:
            return Path(rest[index + 1]), rest[:index] + rest[index + 2 :]
        if word.startswith(f"{_OPTION}="):
            return Path(word.partition("=")[2]), rest[:index] + rest[index + 1 :]
    return None, rest


def give(values: Callable[[], Any], show: Callable[[], None], target: Path | None) -> None:
    """Give the result of a command: as JSON if a file is given, and for readers.

    Args:
        values: Returns the result as plain values.
        show: Prints it for readers; not called if the values go to standard output.
        target: The file, ``-`` for standard output, or None.
    """
    if target is not None:
        _write(values(), target)
    if str(target) != _STANDARD_OUTPUT:
        show()


def _write(values: Any, target: Path) -> None:
    # NaN and infinity become null, because JSON has no such numbers.
    text = json.dumps(_finite(values), indent=2, ensure_ascii=False, default=str) + "\n"
    if str(target) == _STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    check_target(target)
    write_text(target, text)


def check_target(target: Path | None) -> None:
    """Raise an error if the folder of the file does not exist; called before any long computation.

    Raises:
        FileNotFoundError: If it does not exist.
    """
    if target is not None and not target.parent.is_dir():
        raise FileNotFoundError(
            f"Expected --json in a folder that exists, got {target}. Make {target.parent}."
        )


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
