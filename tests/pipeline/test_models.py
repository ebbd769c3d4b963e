"""What ``palpate models`` prints."""

import pytest

from palpate.cli import main

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
    with pytest.raises(SystemExit, match="is not fit to be attacked"):
        main(["models", "check", f"{tmp_path / 'mine.py'}:three", "--size", "32"])
    said = capsys.readouterr().out
    assert said.count("ValueError") == 1
    assert said.count("as above") == 6
