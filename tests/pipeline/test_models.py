"""What ``palpate models`` prints."""

import pytest

from palpate.cli import main
from palpate.models.families import FAMILIES

CUT = "\N{HORIZONTAL ELLIPSIS}"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_cards_keep_their_words_whole_in_a_terminal_of_any_width(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    main(["models", "monai/segresnet", "palpate/tiny"])
    said = capsys.readouterr().out
    assert CUT not in said
    assert ("━" in said) == (width == 200)
    for word in ("monai/segresnet", "palpate/tiny", "parameters", "trainable", "licence"):
        assert word in said
    assert all(len(line) <= width for line in said.splitlines())


def test_a_check_says_once_what_all_checks_saw(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("from torch import nn\nthree = lambda: nn.Conv2d(3, 3, 1)\n")
    with pytest.raises(SystemExit, match="cannot be attacked reliably"):
        main(["models", "check", f"{tmp_path / 'mine.py'}:three", "--size", "32"])
    said = capsys.readouterr().out
    assert said.count("ValueError") == 1
    assert said.count("as above") == 6


def test_a_card_counts_a_small_network_and_says_where_it_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "one = lambda: nn.Conv2d(3, 1, 1)\n"
        "three = lambda: nn.Conv2d(3, 3, 50)\n"
    )
    main(["models", "mine.py:one", "mine.py:three"])
    one, three = (line for line in capsys.readouterr().out.splitlines() if "mine.py" in line)
    assert " 4 " in one
    assert " yes " in one
    assert " 22.5 k " in three
    assert " fails, see palpate models check " in three


def test_every_family_is_listed_with_the_names_that_come_with_palpate(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("palpate.cli.tables.models.known_names", lambda: ["palpate/tiny"])
    main(["models"])
    said = capsys.readouterr().out
    assert all(family.about in said for family in FAMILIES.values())
