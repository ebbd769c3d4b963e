import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from palpate.evaluation import RowStore, merge_rows, read_fingerprint, read_rows
from palpate.evaluation.results import store

from .sample_row import ROW, SCORES

MADE_OF = {"protocol": "sound", "weights": "aa", "attack.pgd": "pgd(steps=40)"}
ROWS = [replace(ROW, key=f"k{index}") for index in range(6)]


def fill(folder: Path, rows=ROWS, made_of=MADE_OF, **settings) -> Path:
    with RowStore(folder, made_of, **settings) as store:
        for row in rows:
            store.add([row])
    return folder


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_come_back(tmp_path):
    frame = read_rows(fill(tmp_path / "new" / "rows"))
    assert frame["key"].tolist() == [row.key for row in ROWS]
    assert read_fingerprint(tmp_path / "new" / "rows") == MADE_OF


def test_an_opened_store_knows_what_is_done(tmp_path):
    fill(tmp_path, ROWS[:2])
    store = RowStore(tmp_path, MADE_OF)
    assert [store.done(row.identity) for row in ROWS[:3]] == [True, True, False]


def test_a_row_that_is_done_is_not_written_again(tmp_path):
    fill(tmp_path)
    fill(tmp_path, [replace(row, scores=SCORES | {"dsc": 0.0}) for row in ROWS])
    assert len(parts(tmp_path)) == 1
    assert (read_rows(tmp_path)["dsc"] == 0.5).all()


def test_a_row_that_still_waits_is_not_taken_twice(tmp_path):
    with RowStore(tmp_path, MADE_OF, flush_rows=4) as store:
        for _ in range(4):
            store.add(ROWS[:1])
    assert sum(pq.read_metadata(part).num_rows for part in parts(tmp_path)) == 1


def test_rows_reach_the_disk_when_there_are_enough(tmp_path):
    store = RowStore(tmp_path, MADE_OF, flush_rows=4)
    store.add(ROWS[:3])
    assert not parts(tmp_path)
    store.add(ROWS[3:])
    assert len(read_rows(tmp_path)) == 6  # in one part: rows added together stay together
    assert len(parts(tmp_path)) == 1


def test_rows_reach_the_disk_when_they_have_waited_long_enough(tmp_path):
    RowStore(tmp_path, MADE_OF, flush_seconds=0.0).add(ROWS[:1])
    assert len(read_rows(tmp_path)) == 1


def test_rows_reach_the_disk_when_an_error_ends_the_work(tmp_path):
    def interrupted():
        yield ROWS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, interrupted())
    assert len(read_rows(tmp_path)) == 1


def test_an_error_while_writing_leaves_neither_half_a_file_nor_lost_rows(tmp_path, monkeypatch):
    store = RowStore(tmp_path, MADE_OF)
    store.add(ROWS)
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", lambda _, path: path.write_bytes(b"PAR1 half") and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.flush()
    left = [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert left == ["protocol.json"]
    store.flush()
    assert len(read_rows(tmp_path)) == 6


def test_two_processes_may_write_to_one_folder(tmp_path):
    first, second = (RowStore(tmp_path, MADE_OF) for _ in range(2))
    first.add(ROWS[:4])
    second.add(ROWS[2:])
    second.flush()
    first.flush()
    assert read_rows(tmp_path)["key"].tolist() == [row.key for row in ROWS]


@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten", "scrambled"])
def test_a_damaged_part_is_named_and_its_rows_are_redone(damage, tmp_path):
    fill(tmp_path, flush_rows=3)
    victim = parts(tmp_path)[0]
    whole = victim.read_bytes()
    broken = {
        "cut": whole[: len(whole) // 2],
        "emptied": b"",
        "overwritten": b"not a table",
        "scrambled": whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :],
    }[damage]
    victim.write_bytes(broken)
    with pytest.raises(ValueError, match=f"{victim.name} is damaged"):
        read_rows(tmp_path)
    with pytest.warns(UserWarning, match=victim.name):
        store = RowStore(tmp_path, MADE_OF)
    assert len(store) == 3
    assert (tmp_path / f"{victim.name}.damaged").read_bytes() == broken
    store.add(ROWS)
    store.flush()
    assert read_rows(tmp_path)["key"].tolist() == [row.key for row in ROWS]


def test_a_part_of_another_kind_is_refused_and_left_alone(tmp_path):
    fill(tmp_path)
    pd.DataFrame({"mine": [1]}).to_parquet(tmp_path / "part-mine.parquet")
    before = contents(tmp_path)
    for read in (read_rows, lambda folder: RowStore(folder, MADE_OF)):
        with pytest.raises(ValueError, match=r"part-mine\.parquet does not hold the columns"):
            read(tmp_path)
    assert contents(tmp_path) == before


def test_a_part_of_another_evaluation_is_refused(tmp_path):
    fill(tmp_path / "a")
    other = fill(tmp_path / "b", made_of=MADE_OF | {"weights": "bb"})
    parts(other)[0].rename(tmp_path / "a" / "part-z.parquet")
    with pytest.raises(ValueError, match=r"part-z\.parquet was not written for this folder"):
        read_rows(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "bb"}, r"differ in weights \(bb here, aa there\).*Choose another --out"),
        ({"precision": "bf16"}, r"precision \(bf16 here, absent there\)"),
        ({"attack.pgd": "pgd(steps=10)"}, r"attack\.pgd \(pgd\(steps=10\) here, pgd\(steps=40\)"),
        ({"protocol": "paper", "weights": "bb"}, r"protocol .*, weights"),
    ],
)
def test_rows_of_another_evaluation_are_not_touched(change, message, tmp_path):
    before = contents(fill(tmp_path))
    with pytest.raises(ValueError, match=message):
        RowStore(tmp_path, MADE_OF | change)
    assert contents(tmp_path) == before


def test_an_attack_can_be_added_later(tmp_path):
    fill(tmp_path, ROWS[:3])
    fill(tmp_path, ROWS[3:], {"protocol": "sound", "weights": "aa", "attack.fgsm": "fgsm()"})
    assert len(read_rows(tmp_path)) == 6
    assert read_fingerprint(tmp_path) == MADE_OF | {"attack.fgsm": "fgsm()"}
    with pytest.raises(ValueError, match=r"attack\.pgd"):
        RowStore(tmp_path, MADE_OF | {"attack.pgd": "pgd(steps=1)"})


def test_rows_without_a_protocol_are_refused(tmp_path):
    fill(tmp_path)
    (tmp_path / "protocol.json").unlink()
    with pytest.raises(ValueError, match=r"rows but no protocol\.json"):
        RowStore(tmp_path, MADE_OF)
    with pytest.raises(FileNotFoundError, match=r"folder of rows with a protocol\.json"):
        read_rows(tmp_path)


def test_a_damaged_protocol_is_named(tmp_path):
    fill(tmp_path)
    (tmp_path / "protocol.json").write_text('{"protocol": "so')
    with pytest.raises(ValueError, match=r"protocol\.json is damaged"):
        RowStore(tmp_path, MADE_OF)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"Rows cannot be written to .*file.*Choose another --out"):
        RowStore(tmp_path / "file", MADE_OF)


def test_stores_of_one_protocol_merge(tmp_path):
    first = fill(tmp_path / "a", ROWS[:4])
    second = fill(tmp_path / "b", ROWS[2:], MADE_OF | {"attack.fgsm": "fgsm()"})
    assert merge_rows([first, second])["key"].tolist() == [row.key for row in ROWS]


@pytest.mark.parametrize("name", ["protocol", "weights", "attack.pgd"])
def test_stores_of_different_protocols_do_not_merge(name, tmp_path):
    first, second = fill(tmp_path / "a"), fill(tmp_path / "b", made_of=MADE_OF | {name: "other"})
    with pytest.raises(ValueError, match=rf"cannot stand in one table: they differ in {name}"):
        merge_rows([first, second])


def test_merging_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one folder"):
        merge_rows([])


def test_two_that_claim_a_folder_at_once_both_leave_what_they_add(tmp_path, monkeypatch):
    """Each reads what is there before the other has written."""
    reading = store.read_fingerprint

    def slowly(folder):
        found = reading(folder)
        time.sleep(0.1)
        return found

    fill(tmp_path, [])
    monkeypatch.setattr(store, "read_fingerprint", slowly)
    names = [f"attack.{number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: store._claim(tmp_path, {**MADE_OF, name: name}), names))
    assert set(names) <= reading(tmp_path).keys()


def test_rows_of_another_version_are_gone_on_with_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "release", lambda: "0.1")
    fill(tmp_path, ROWS[:2])
    fill(tmp_path, ROWS[:3])  # the same version says nothing
    monkeypatch.setattr(store, "release", lambda: "0.2")
    with pytest.warns(UserWarning, match=r"rows of palpate 0\.1, and those of palpate 0\.2"):
        fill(tmp_path, ROWS)
    assert len(read_rows(tmp_path)) == len(ROWS)
