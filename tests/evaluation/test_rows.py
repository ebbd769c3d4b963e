from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palpate.evaluation.results.rows import (
    COLUMNS,
    SCHEMA,
    Identity,
    identities,
    to_frame,
    to_table,
)

from .sample_row import ROW, SCORES


def test_every_field_is_one_column():
    assert tuple(ROW.columns()) == COLUMNS
    assert set(Identity._fields) <= set(COLUMNS)


@given(st.floats(allow_nan=False), st.text(st.characters(codec="utf-8")), st.booleans())
def test_a_row_comes_back_as_it_went(number, text, flag):
    row = replace(ROW, psnr=number, prompt=text, success=flag)
    assert to_table([row]).to_pylist() == [row.columns()]
    assert list(identities(to_table([row]))) == [row.identity]


def test_a_table_is_ordered_by_identity_whatever_the_order_of_the_parts():
    rows = [replace(ROW, key=key, epsilon=e) for key in "cab" for e in (0.02, 0.01)]
    forth, back = ([to_table([row]) for row in order] for order in (rows, rows[::-1]))
    frame = to_frame(forth)
    assert frame["key"].tolist() == list("aabbcc")
    assert frame["epsilon"].tolist() == [0.01, 0.02] * 3
    assert frame.equals(to_frame(back))


def test_of_two_rows_of_one_identity_the_earlier_stays():
    frame = to_frame(
        [to_table([ROW]), to_table([replace(ROW, scores=SCORES | {"dsc": 0.1}, seconds=9.0)])]
    )
    assert frame["dsc"].tolist() == [0.5]


@pytest.mark.parametrize("name", Identity._fields)
def test_rows_that_differ_in_their_identity_are_two_rows(name):
    other = replace(ROW, **{name: {"epsilon": 1.0, "seed": 1}.get(name, "other")})
    assert len(to_frame([to_table([ROW, other])])) == 2


def test_no_rows_are_a_table_with_all_columns():
    assert tuple(to_frame([]).columns) == COLUMNS


def test_a_wrong_type_is_refused():
    with pytest.raises(pa.ArrowInvalid):
        pa.Table.from_pylist([ROW.columns() | {"dsc": "high"}], schema=SCHEMA)
