"""What is seen of a long stage in a log file and in a terminal."""

import io

import pytest
from rich.console import Console

from palpate import progress_bars as watch


def lines(monkeypatch, calls, seconds_a_call):
    """The log that these calls leave, on a clock of our own."""
    out, clock = io.StringIO(), iter(range(10_000))
    monkeypatch.setattr(watch.time, "monotonic", lambda: next(clock) * seconds_a_call)
    tell = watch._Lines(Console(file=out, width=200))
    for call in calls:
        tell(*call)
    return out.getvalue().splitlines()


def test_a_log_gets_a_line_at_every_twentieth(monkeypatch):
    said = lines(monkeypatch, [("attacks", n, 1000) for n in range(1, 1001)], 0.001)
    assert len(said) == 21
    assert said[-1].startswith("attacks: 1000/1000")


def test_a_slow_stage_is_heard_of_every_minute(monkeypatch):
    said = lines(monkeypatch, [("training", n, 1000) for n in range(1, 11)], 60.0)
    assert len(said) == 10
    assert said[1].startswith("training: 2/1000, 16:38:00 left")


def test_what_was_done_before_says_nothing_about_speed(monkeypatch):
    said = lines(monkeypatch, [("attacks", 500, 600), ("attacks", 510, 600)], 10.0)
    assert said == ["attacks: 500/600", "attacks: 510/600, 0:01:30 left"]


def test_a_stage_that_begins_again_is_timed_anew(monkeypatch):
    twice = [("universal", n, 4) for n in (1, 2, 3, 4, 2, 3, 4)]
    said = lines(monkeypatch, twice, 60.0)
    assert said[4:] == ["universal: 2/4", "universal: 3/4, 0:01:00 left", "universal: 4/4"]


def test_a_terminal_shows_a_stage_that_begins_again_as_another_bar(monkeypatch):
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=100)
    monkeypatch.setattr(watch, "Console", lambda **_: terminal)
    with watch.show_progress() as tell:
        for done in (1, 4, 1, 3):
            tell("universal", done, 4)
    last = out.getvalue().rpartition("4/4")[2]
    assert "3/4" in last


def test_notes_are_set_off_and_kept_as_they_are(monkeypatch):
    calls = [("attacks", n, 2, "images [0, 1] [b]") for n in (1, 2)]
    said = lines(monkeypatch, calls, 10.0)
    assert said == ["attacks: 1/2, images [0, 1] [b]", "attacks: 2/2, images [0, 1] [b]"]


@pytest.mark.parametrize("note", ["scan [left].png", "scan [/a].png", "[red]scan.png"])
def test_a_terminal_shows_notes_as_they_are(note, monkeypatch):
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, color_system=None, width=120)
    monkeypatch.setattr(watch, "Console", lambda **_: terminal)
    with watch.show_progress() as tell:
        tell("attacks", 3, 6, note)
    assert note in out.getvalue()


def test_a_terminal_gets_a_bar_per_stage(monkeypatch):
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=100)
    monkeypatch.setattr(watch, "Console", lambda **_: terminal)
    with watch.show_progress() as tell:
        tell("training", 1, 4, "epoch 1/2")
        tell("attacks", 3, 6, "pgd")
    text = out.getvalue()
    assert "training" in text
    assert "3/6" in text
    assert "epoch 1/2" in text
