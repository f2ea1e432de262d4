"""Bars as people write them."""

import pytest

from data_prep.bar_ranges import BarRangeError, parse_bar_ranges


@pytest.mark.parametrize(
    ("text", "ranges"),
    [("9-12,25", ((9, 12), (25, 25))), (" 3 , 1-2,", ((3, 3), (1, 2))), ("", ()), ("999999", ((999999, 999999),))],
)
def test_bars_are_read(text, ranges):
    assert parse_bar_ranges(text) == ranges


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("two", "'two' is neither a bar nor a range of bars; write them as 9-12,25-28"),
        ("3-", "'3-' is neither"),
        ("1-2-3", "'1-2-3' is neither"),
        ("1-99999999999", "'1-99999999999' is neither"),
        ("٣", "'٣' is neither"),
        ("2,0-4", "bars are counted from 1, there is no bar 0"),
        ("12-9", "the range 12-9 ends before it begins"),
    ],
)
def test_what_names_no_bars(text, sentence):
    with pytest.raises(BarRangeError) as raised:
        parse_bar_ranges(text)
    assert str(raised.value).startswith(sentence)
