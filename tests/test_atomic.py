"""Atomic writes: a file is complete or absent, even if the writing process is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from palpate.atomic import (
    remove_leftovers,
    removed_if_failed,
    replacing,
    write_bytes,
    write_text,
)

# Writes half of the content, reports it, and waits to be killed.
WRITER = """
import sys, time
from pathlib import Path
from palpate.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("half", flush=True)
    time.sleep(60)
"""


def killed_writer(path):
    source = str(Path(__file__).parents[1] / "src")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": source},
    ) as process:  # fmt: skip
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)


def write_half(path):
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("broke")


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "rows.json"
    write_text(path, "old")
    write_text(path, "neu ü\n")
    assert path.read_bytes() == "neu ü\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_body_that_raises_changes_nothing(tmp_path):
    path = tmp_path / "rows.json"
    write_bytes(path, b"old")
    with pytest.raises(RuntimeError, match="broke"):
        write_half(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_changes_nothing_and_the_next_one_cleans_up(tmp_path):
    path = tmp_path / "rows.json"
    write_text(path, "old")
    killed_writer(path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_whole_folder_are_removed_once_for_a_writer_of_many_files(tmp_path):
    (tmp_path / "masks").mkdir()
    killed_writer(tmp_path / "masks" / "a.png")
    with replacing(tmp_path / "masks" / "b.png", tidy=False) as temporary:
        temporary.write_bytes(b"b")
        assert len(list((tmp_path / "masks").iterdir())) == 2
        remove_leftovers(tmp_path)
        assert list((tmp_path / "masks").iterdir()) == [temporary]
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["b.png"]


def test_what_a_living_process_is_writing_is_left_alone(tmp_path):
    path = tmp_path / "rows.json"
    with replacing(path) as temporary:
        temporary.write_text("slow")
        write_text(path, "quick")
        assert temporary.read_text() == "slow"
    assert path.read_text() == "slow"


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_permissions_are_those_of_the_umask(mask, expected, tmp_path):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "rows.json", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "rows.json").stat().st_mode & 0o777 == expected


def fails(folder, *files, error=ValueError):
    """A body that leaves files in a folder and fails."""
    with removed_if_failed(folder, ["config.yaml", "sources"]):
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        (folder / "rows").mkdir()
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_without_results_leaves_no_folder(tmp_path, error):
    with pytest.raises(error):
        fails(
            tmp_path / "runs" / "a",
            "config.yaml",
            "inner/config.yaml",
            "sources/net.py",
            error=error,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_results_and_what_was_there(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError):  # noqa: PT011 - raised above
        fails(tmp_path, "config.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(ValueError):  # noqa: PT011
        fails(tmp_path / "b", "config.yaml", "part-1.parquet")
    names = {path.name for path in (tmp_path / "b").iterdir()}
    assert names == {"config.yaml", "part-1.parquet", "rows"}
