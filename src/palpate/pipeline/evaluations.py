"""What was added to a run after it, which its recipe does not tell."""

import json
import shlex
from pathlib import Path

from palpate.atomic import replacing

_FILE = "evaluations.json"


def note_evaluation(
    folder: Path, attacks: tuple[str, ...] | None, epsilon_255: tuple[float, ...] | None
) -> None:
    """Keep in a run folder what was asked for beyond the recipe, as the command that asks for it.

    Args:
        folder: Of the run.
        attacks: Asked for by name, if not those of the recipe.
        epsilon_255: Radii in steps of an 8-bit image, if not those of the recipe.
    """
    words = ["palpate", "evaluate", "--run", "."]
    words += ["--attacks", *attacks] if attacks is not None else []
    radii = [f"{epsilon:.12g}" for epsilon in epsilon_255 or ()]
    words += ["--epsilon-255", *radii] if epsilon_255 is not None else []
    earlier, command = read_evaluations(folder), shlex.join(words)
    if len(words) > 4 and command not in earlier:
        with replacing(folder / _FILE) as temporary:
            temporary.write_text(json.dumps([*earlier, command], indent=2) + "\n", "utf-8")


def read_evaluations(folder: Path) -> list[str]:
    """The commands that :func:`note_evaluation` kept, in order.

    Raises:
        ValueError: If the file is something else.
    """
    path = folder / _FILE
    if not path.is_file():
        return []
    commands = json.loads(path.read_text(encoding="utf-8"))
    if not (isinstance(commands, list) and all(isinstance(each, str) for each in commands)):
        raise ValueError(
            f"Expected a list of commands in {path}, got something else. Delete that file; the "
            "page then no longer tells which attacks were added to the run."
        )
    return commands
