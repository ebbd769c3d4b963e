"""Contact sheets, as far as a test can look at them."""

import numpy as np
import pytest
from PIL import Image

from palpate.reporting.figures.contact_sheet import HUES, Outlined, Tile, contact_sheet


def tile(structures=("polyp",), size=(40, 60), text="a polyp", grey=0.3):
    """A flat image with a box for every structure."""
    masks = []
    for number, name in enumerate(structures):
        mask = np.zeros(size, bool)
        mask[5 + 10 * number : 12 + 10 * number, 10:40] = True
        masks.append(Outlined(name, mask, text, "p1"))
    return Tile("image.png", np.full((3, *size), grey, np.float32), tuple(masks))


def near(picture, hue, within=40):
    """Pixels of about one colour."""
    colour = np.array([int(hue[k : k + 2], 16) for k in (1, 3, 5)])
    return int((abs(np.asarray(picture).astype(int) - colour).max(axis=-1) < within).sum())


@pytest.fixture
def drawn(tmp_path):
    def draw(*tiles, **options):
        path = contact_sheet(tiles, tmp_path / "sheet.png", title="kvasir · test", **options)
        return Image.open(path).convert("RGB")

    return draw


def test_image_and_outline_are_both_seen(drawn):
    sheet = drawn(tile())
    assert near(sheet, HUES[0]) > 300
    assert near(sheet, "#4c4c4c", within=6) > 20_000


def test_every_structure_has_its_colour(drawn):
    sheet = drawn(tile(("left ventricle", "myocardium", "left atrium")))
    assert all(near(sheet, hue) > 200 for hue in HUES[:3])
    assert near(sheet, HUES[3]) == 0


def test_a_ring_does_not_hide_what_is_inside(drawn):
    ring = np.zeros((60, 60), bool)
    ring[5:55, 5:55] = True
    ring[15:45, 15:45] = False
    image = np.full((3, 60, 60), 0.3, np.float32)
    inner, outer = Outlined("cavity", ~ring & np.pad(np.ones((30, 30), bool), 15), "a", "p1"), ring
    sheets = [
        drawn(Tile("x.png", image, masks))
        for masks in (
            (inner, Outlined("muscle", outer, "b", "p1")),
            (Outlined("muscle", outer, "b", "p1"), inner),
        )
    ]
    inner_hues = [near(sheets[0], HUES[0]), near(sheets[1], HUES[1])]
    assert min(inner_hues) > 400


def test_rows_are_as_many_as_needed(drawn):
    one, two = drawn(*[tile()] * 3, columns=3), drawn(*[tile()] * 4, columns=3)
    assert one.width == two.width
    assert two.height > 1.6 * one.height


def test_odd_names_and_texts_do_no_harm(drawn):
    drawn(tile(text="$x_1$ <b>" + "long " * 80), notes=("$note", "two", "three"))
    drawn(tile(structures=()), tile(text=""))
