"""A kind of file: written to a temporary folder, read with and without an option, told as a row."""

import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

_LENGTH, _LAST = 150, 175  # characters of a message that is kept, and of a last sentence


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: What the file has, the first cell of its row.
        write: Writes the file into the working directory.
        read: Reads it with the options as keywords, and returns what was read, in words.
        options: The options that read it right, if it is not read right without.
        needs: Packages that writing and reading need besides palpate's own.
        form: How an option is written, of its name and value.
    """

    name: str
    write: Callable[[], object]
    read: Callable[..., str]
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    form: str = "{}={!r}"

    @property
    def missing(self) -> list[str]:
        """The packages that are needed and not installed."""
        return [name for name in self.needs if find_spec(name) is None]

    def row(self) -> str:
        """Write and read the file; the line of the table."""
        with TemporaryDirectory() as folder, chdir(folder):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the libraries that write
                self.write()
            cells = [self.name, self._tried({})]
            if self.options:
                given = ", ".join(self.form.format(*pair) for pair in self.options.items())
                cells += [f"`{given}`".replace("'", '"'), self._tried(self.options)]
        return f"| {' | '.join(cells + [''] * (4 - len(cells)))} |"

    def _tried(self, options: Mapping[str, Any]) -> str:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                seen = self.read(**options)
            except (ValueError, RuntimeError, OSError) as error:
                return f"refused: “{shortened(str(error))}”"
        told = [w for w in caught if not issubclass(w.category, DeprecationWarning)]
        return "; ".join([seen, *(f"warning: “{shortened(str(w.message))}”" for w in told)])


def shortened(message: str) -> str:
    """A message as text of a table.

    Of a list of faults, the first one; of a long text, the first clause, which says what happened,
    and the last sentence or clause, which says what to do.
    """
    listed = re.search(r"\(\d+\):\n  (.+)$", message, flags=re.MULTILINE)
    text = re.sub(r"\s+", " ", listed[1] if listed else message).replace("`", "").strip()
    text = re.sub(r"^(?:(?:sample )?[\w./'-]+: )*", "", text)  # names of files
    text = re.sub(r"^expected a mask [^,]+, (?=got )", "", text)
    if len(text) > _LENGTH:
        first = re.match(r".{15,}?(?=[:;,.]? [(]|[:;,.] )", text)
        ends = (text.rpartition(mark) for mark in (". ", "; "))
        last = next((end for _, mark, end in ends if mark and len(end) <= _LAST), text[-_LAST:])
        text = f"{first[0] if first else text[:_LENGTH]} … {last}"
    return re.sub(r"([|*<])", r"\\\1", text)
