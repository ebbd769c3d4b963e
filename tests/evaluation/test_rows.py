from dataclasses import asdict, fields, replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palpate.evaluation.rows import COLUMNS, SCHEMA, Identity, Row, identities, to_frame, to_table

ROW = Row(
    dataset="kvasir", split="test", key="a", image_name="a.jpg", structure="polyp", group="a",
    prompt_level="p1", prompt="polyp", height=4, width=5, attack="pgd", norm="linf",
    epsilon=8 / 255, seed=0, protocol="sound", dsc=0.5, iou=1 / 3, miou=0.4, hd95=2.0, nsd=0.5,
    dsc_clean=0.9, iou_clean=0.8, mask_area=0.1, clean_area=0.1, area=0.2, success=True,
    failure="hallucinated", linf=8 / 255, l2=0.1, psnr=30.0, ssim=0.9, loss_clean=0.1, loss=0.7,
    forwards=41.0, backwards=40.0, seconds=0.5,
)  # fmt: skip


def test_every_field_is_one_column():
    assert tuple(field.name for field in fields(Row)) == COLUMNS
    assert set(Identity._fields) <= set(COLUMNS)


@given(st.floats(allow_nan=False), st.text(st.characters(codec="utf-8")), st.booleans())
def test_a_row_comes_back_as_it_went(number, text, flag):
    row = replace(ROW, psnr=number, prompt=text, success=flag)
    assert to_table([row]).to_pylist() == [asdict(row)]
    assert list(identities(to_table([row]))) == [row.identity]


def test_a_table_is_ordered_by_identity_whatever_the_order_of_the_parts():
    rows = [replace(ROW, key=key, epsilon=e) for key in "cab" for e in (0.02, 0.01)]
    forth, back = ([to_table([row]) for row in order] for order in (rows, rows[::-1]))
    frame = to_frame(forth)
    assert frame["key"].tolist() == list("aabbcc")
    assert frame["epsilon"].tolist() == [0.01, 0.02] * 3
    assert frame.equals(to_frame(back))


def test_of_two_rows_of_one_identity_the_earlier_stays():
    frame = to_frame([to_table([ROW]), to_table([replace(ROW, dsc=0.1, seconds=9.0)])])
    assert frame["dsc"].tolist() == [0.5]


@pytest.mark.parametrize("name", Identity._fields)
def test_rows_that_differ_in_their_identity_are_two_rows(name):
    other = replace(ROW, **{name: {"epsilon": 1.0, "seed": 1}.get(name, "other")})
    assert len(to_frame([to_table([ROW, other])])) == 2


def test_no_rows_are_a_table_with_all_columns():
    assert tuple(to_frame([]).columns) == COLUMNS


def test_a_wrong_type_is_refused():
    with pytest.raises(pa.ArrowInvalid):
        pa.Table.from_pylist([asdict(ROW) | {"dsc": "high"}], schema=SCHEMA)
