"""The command that repeats what is running now, for the page of a report."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path


def command_here(words: Sequence[str]) -> str:
    """A command that can be pasted into a shell anywhere, and runs in the current folder."""
    return f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(words)}"


def command_of_session() -> str:
    """The command that runs the script of this process again; empty in a notebook or a shell."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is None or not Path(script).is_file():
        return ""
    return command_here([sys.executable, str(Path(script).resolve()), *sys.argv[1:]])
