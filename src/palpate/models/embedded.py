"""Models that come with the package, small enough to need no download."""

from pathlib import Path

_HERE = Path(__file__).parent

EMBEDDED = {"palpate/tiny": _HERE / "tiny"}
