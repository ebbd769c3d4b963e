"""Progress of a command: bars in a terminal, and lines in a log file."""

from palpate.progress_bars import show_progress

__all__ = ["show_progress"]
