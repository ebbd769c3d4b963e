"""What each stage of a run cost: seconds and memory, added up over interruptions."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from palpate.pipeline.run_folder import write_json
from palpate.training.loop import peak_memory_mb


@contextmanager
def measured(stage: str, folder: Path) -> Iterator[None]:
    """Add the time of a stage to ``costs.json``, and note the most memory the process has held.

    The peak is that of the process up to the end of the stage, as operating systems tell it.
    """
    started = time.perf_counter()
    try:
        yield
    finally:
        costs = read_costs(folder)
        before = costs.get(stage, {"seconds": 0.0, "peak_memory_mb": 0.0})
        costs[stage] = {
            "seconds": before["seconds"] + time.perf_counter() - started,
            "peak_memory_mb": max(before["peak_memory_mb"], peak_memory_mb()),
        }
        write_json(folder / "costs.json", costs)


def read_costs(folder: Path) -> dict[str, Any]:
    """The costs of a run by stage; empty if none were noted."""
    path = folder / "costs.json"
    costs: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return costs
