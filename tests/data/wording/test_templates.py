from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palpate.data.wording import FIELDS, parse_template

VALUES = {"structure": "polyp", "size": "small", "colour": None, "age": "eighty-year-old"}


def fill(source, **values):
    return parse_template(source).fill({**VALUES, **values})


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", ""),
        ("{size} {structure}", "small polyp"),
        ("{ size } {structure}", "small polyp"),
        ("[{colour}] {structure}", "polyp"),
        ("{size} [{colour}] {structure}", "small polyp"),
        ("{structure}[, located in {place}]", "polyp"),
        ("{structure} [located in {place}], here", "polyp, here"),
        ("{structure}, [{colour}]", "polyp"),
        ("[{size} and {colour}] {structure}", "polyp"),
        ("{a age} man with {a structure}", "an eighty-year-old man with a polyp"),
        ("{an structure}", "a polyp"),
        ("{{size}} [[{size}]]", "{size} [small]"),
        ("two\n  lines", "two lines"),
    ],
)
def test_fields_and_optional_parts(source, text):
    assert fill(source) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{colur} polyp", r"got 'colur'\. Did you mean 'colour'\?"),
        ("{} polyp", "Expected a field among number, .*, got ''"),
        ("{size.__class__}", r"got 'size\.__class__'"),
        ("{size!r}", "got 'size!r'"),
        ("{0}", "got '0'"),
        ("{size", r"a single '\{' at letter 1\. Write '\{\{'"),
        ("size}", r"a single '\}' at letter 5"),
        ("[{size}", r"Expected a '\]' for the '\['"),
        ("{size}]", r"a single '\]' at letter 7"),
        ("[{size} [{colour}]]", "not in each other"),
        ("[only text] {size}", "Expected a field in the square brackets"),
    ],
)
def test_what_cannot_be_read_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        parse_template(source)


def test_what_is_not_known_outside_brackets_is_an_error():
    with pytest.raises(ValueError, match=r"Expected to know 'colour' for '\{colour\} x'.*\[square"):
        fill("{colour} x")


def test_fields_of_a_data_set_can_be_named():
    assert parse_template("{device}", [*FIELDS, "device"]).fill({"device": "GE"}) == "GE"
    with pytest.raises(ValueError, match="got 'device'"):
        parse_template("{device}")


def test_values_are_not_templates():
    assert fill("{structure}", structure="{size} [x]") == "{size} [x]"


@given(st.text())
def test_any_text_is_read_or_refused(source):
    with suppress(ValueError):  # and nothing else
        assert parse_template(source).source == source


@given(st.text(st.characters(blacklist_characters="{}[]", blacklist_categories=["Cs"])))
def test_a_text_without_fields_stays_but_for_spaces_and_loose_commas(source):
    assert "".join(fill(source).split()) == "".join(source.split()).strip(",;")
