"""The command line: finds the command that is called, and imports only its code."""

import io
import os
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from palpate.cli.commands import COMMANDS, UsageError, subcommands, top_level, usage
from palpate.errors import SeveralRunsError

_PIPE_CLOSED = 141  # exit status that a shell reports for a process ended by SIGPIPE


def main(arguments: list[str] | None = None) -> None:
    """Entry point; errors that a user can fix are printed as one message, without a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _replace_unencodable_characters()
    try:
        _dispatch(arguments)
    except BrokenPipeError:  # the reader of the output has exited, as `head` does
        # Redirect stdout, or Python would print another error when it flushes on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_PIPE_CLOSED)
    except UsageError as error:
        print(f"palpate: {error}", file=sys.stderr)
        sys.exit(2)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        _stop(error, arguments)
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to continue.", file=sys.stderr)
        sys.exit(130)


def _stop(error: Exception, arguments: list[str]) -> NoReturn:
    """Print an error, and exit with the status that the command has for it."""
    lines = [f"palpate: {error}"]
    if isinstance(error, SeveralRunsError):  # the same command, once for each run
        for run in error.runs:
            words = [
                str(Path(word) / run.name)
                if Path(word).resolve() == error.folder.resolve()
                else word
                for word in arguments
            ]
            lines.append(f"  {shlex.join(['palpate', *words])}")
    status, text = _status_of(arguments), "\n".join(lines)
    if status == 1:
        sys.exit(text)
    print(text, file=sys.stderr)
    sys.exit(status)


def _status_of(arguments: list[str]) -> int:
    command = COMMANDS.get(arguments[0] if arguments else "")
    return command.status if command else 1


def _replace_unencodable_characters() -> None:
    """Print `?` for characters that the output encoding cannot represent (pipes on Windows)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _dispatch(arguments: list[str]) -> None:
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help"):
        print(usage(), end="")
    elif first == "--version":
        from palpate import __version__

        print(f"palpate {__version__}")
    elif first == "--complete":  # called by the script that `palpate completion` prints
        from palpate.cli.completion import candidates

        print("\n".join(candidates(arguments[1:])))
    elif " ".join(arguments[:2]) in COMMANDS and len(arguments) > 1:
        _call(" ".join(arguments[:2]), arguments[2:])
    elif first in COMMANDS:
        _call(first, arguments[1:])
    elif inner := subcommands(first):
        _about_group(first, arguments[1:], inner)
    else:
        _refuse(first, top_level(), "one of the commands")


def _about_group(group: str, arguments: list[str], known: list[str]) -> None:
    """Print the commands of a group such as ``data``, unless a wrong one was called."""
    if arguments and arguments[0] not in ("-h", "--help"):
        _refuse(arguments[0], known, f"one of palpate {group}")
    print(usage(f"{group} "), end="")


def _refuse(word: str, known: list[str], expected: str) -> None:
    from palpate.errors import did_you_mean

    raise UsageError(
        f"Expected {expected} {', '.join(known)}, got {word!r}.{did_you_mean(word, known)} "
        "See `palpate --help`."
    )


def _call(name: str, words: list[str]) -> None:
    module, _, function = COMMANDS[name].function.partition(":")
    command = getattr(import_module(module), function)
    if COMMANDS[name].recipe:
        command(words)
        return
    from palpate.cli.parsing import deferred, parse

    parse(deferred(command), words, prog=f"palpate {name}")()
