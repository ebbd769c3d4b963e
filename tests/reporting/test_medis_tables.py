"""The tables of MedIS: their layout, and the number of images beside every rate."""

import pytest

from palpate.reporting.tables.markdown_latex import latex, markdown
from palpate.reporting.tables.medis_tables import medis_tables

from ..evaluation.blobs import BlobFinder
from ..evaluation.test_medis_lines import faint, lines_of

LOSSES = ("bce_dice", "structure", "lovasz_hinge", "exponential_log")


@pytest.fixture(scope="module")
def lines():
    settings = {"losses": LOSSES, "epsilon": 0.5, "steps": 6}
    return lines_of(BlobFinder(), faint(6), **settings)


def test_tables_have_the_layout_of_the_published_files(lines):
    tables = {table.name: table for table in medis_tables(lines)}
    assert list(tables) == [
        "medis-fused-targeted",
        "medis-losses-targeted",
        "medis-fused-untargeted",
        "medis-losses-untargeted",
    ]
    shown = tables["medis-losses-targeted"].shown
    assert list(shown["Loss"]) == list(LOSSES)
    assert list(shown.columns) == ["Data", "Loss"] + [
        f"{target}: {what}"
        for target in ("Random", "Nearest", "White", "Black")
        for what in ("success, %", "steps")
    ]
    fused = tables["medis-fused-untargeted"]
    assert list(fused.shown.columns) == ["Data", "success, %", "steps"]
    (rate,) = fused.numbers.to_dict("records")
    assert fused.shown["success, %"][0].startswith(f"{100 * rate['success']:.1f} [")
    assert fused.shown["success, %"][0].endswith(f"of {rate['n']}")
    assert "left out" in fused.caption
    for table in tables.values():
        assert table.title in markdown(table)
        assert table.name in latex(table)


def test_published_tables_say_what_came_for_nothing(lines):
    published = lines.assign(protocol="notebooks")
    (fused, *_) = medis_tables(published)
    black = published[(published["target"] == "black")]
    assert f"black {100 * black['already'].mean():.1f} %" in fused.caption
    assert "without any attack count as successes" in fused.caption
