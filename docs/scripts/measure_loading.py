"""Measure samples per second of a data set, from its files and from the cache.

python docs/scripts/measure_loading.py kvasir --root DIR [--size 352] [--workers 0 1 2]
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from palpate.data import PromptedDataset, cached, load_data, stream


def rates(
    data: PromptedDataset, workers: list[int], cache: Path
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Samples per second for each way of reading."""
    kept = cached(data, cache)
    for count in workers:
        yield f"decoded, {count} workers", rate(data, count)
    yield "first time with cache, 0 workers", rate(kept, 0)
    for count in workers:
        yield f"from the cache, {count} workers", rate(kept, count)


def rate(data: PromptedDataset, workers: int) -> tuple[float, float]:
    """Samples per second of wall-clock time and of processor time of all threads.

    Compare the second on a machine that runs other work as well.
    """
    start, busy = time.perf_counter(), time.process_time()
    read = sum(1 for _ in stream(data, workers=workers))
    return read / (time.perf_counter() - start), read / (time.process_time() - busy)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--size", type=int, default=352)
    parser.add_argument("--split", default="train")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data(given.name, given.root, split=given.split, size=given.size, check=False)
    print(f"{given.name}, {len(data)} samples of {given.size} x {given.size} pixels")
    with tempfile.TemporaryDirectory() as folder:
        for how, (by_clock, by_processor) in rates(data, given.workers, Path(folder)):
            busy = f"{by_processor:5.0f} per second of processor time"
            print(f"{how:35} {by_clock:7.0f} per second, {busy}", flush=True)


if __name__ == "__main__":
    main()
